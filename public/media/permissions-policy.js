// Allowed: whether the policy of this site, or of a page it is framed in, lets a feature be.

/**
 * @param {Document} document
 * @returns {(feature: string) => boolean} true where the browser does not tell
 */
export function allowedIn(document) {
  const { permissionsPolicy, featurePolicy } = /** @type {any} */ (document);
  return (feature) => {
    try {
      return (permissionsPolicy ?? featurePolicy)?.allowsFeature?.(feature) ?? true;
    } catch {
      return true;
    }
  };
}
