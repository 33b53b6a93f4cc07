// Permissions policy: whether this site, and the page that frames it, allow a feature.

/**
 * @param {Document} document
 * @returns {(feature: string) => boolean} true where the browser does not expose the policy
 */
export function policyOf(document) {
  const { permissionsPolicy, featurePolicy } = /** @type {any} */ (document);
  return (feature) => {
    try {
      return (permissionsPolicy ?? featurePolicy)?.allowsFeature?.(feature) ?? true;
    } catch {
      return true;
    }
  };
}
