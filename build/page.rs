//! Turns the files of `public/` into the files that are served: joins modules (`bundle`), adds what depends on the
//! list of languages (`languages`) and `modulepreload` lines to the HTML, and removes comments and indentation. The HTML
//! names all other files below a path with their version, so browsers need not ask whether they have changed.
//!
//! Pure: paths and bytes in, paths and bytes out. A folder served by the `public` setting gets none of this.

use std::collections::BTreeMap;

use super::bundle::Bundle;
use super::languages::{self, Language};

/// File contents by URL path, such as `/app/main.js`.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Where the `modulepreload` lines of a page go.
const PRELOAD_MARKER: &str = "<!-- modulepreload -->\n";

/// The page as it is served.
#[derive(Debug)]
pub(crate) struct BuiltPage {
    pub(crate) files: Files,
    /// Identifies the content of all files, as 12 hexadecimal digits; a part of paths.
    pub(crate) version: String,
    pub(crate) languages: Vec<Language>,
}

/// What to serve instead of `files`; `digest` identifies bytes.
///
/// # Errors
/// A sentence naming the file and line that the build cannot handle, and what to write instead.
pub(crate) fn build(mut files: Files, digest: impl Fn(&[u8]) -> String) -> Result<BuiltPage, String> {
    files.retain(|path, _| !path.ends_with(".d.ts"));
    let languages = languages::apply(&mut files)?;
    let pages: BTreeMap<String, String> = texts(&files, ".html").collect();
    let scripts: BTreeMap<String, String> = texts(&files, ".js").collect();
    let bundle = Bundle::new(&scripts, &pages)?;
    for (path, html) in &pages {
        let line = |name| format!("<link rel=\"modulepreload\" href=\"{name}\">\n");
        let preloads: String = bundle.preloads(html).into_iter().map(line).collect();
        files.insert(path.clone(), html.replace(PRELOAD_MARKER, &preloads).into_bytes());
    }
    files.retain(|path, _| !bundle.joins(path));
    for (path, script) in bundle.write()? {
        files.insert(path, script.into_bytes());
    }
    let styles: Vec<(String, String)> = texts(&files, ".css").collect();
    files.extend(styles.into_iter().map(|(path, style)| (path, strip(&style).into_bytes())));
    let pages: Vec<(String, String)> = texts(&files, ".html").collect();
    for (path, html) in &pages {
        let translated = languages::translations(path, html, &languages)?;
        files.extend(translated.into_iter().map(|(path, html)| (path, html.into_bytes())));
    }
    let version = version(&files, digest);
    for (path, html) in texts(&files, ".html").collect::<Vec<_>>() {
        let html = with_version(&html, &version, |linked| files.contains_key(linked));
        files.insert(path, html.into_bytes());
    }
    Ok(BuiltPage { files, version, languages })
}

/// The beginning of a digest over the names and contents of all files.
fn version(files: &Files, digest: impl Fn(&[u8]) -> String) -> String {
    let each = |(path, bytes): (&String, &Vec<u8>)| format!("{path} {}\n", digest(bytes));
    let list: String = files.iter().map(each).collect();
    digest(list.as_bytes()).chars().take(12).collect()
}

/// Puts the version before the path of each file that `html` links. Pages keep their paths.
fn with_version(html: &str, version: &str, is_file: impl Fn(&str) -> bool) -> String {
    let mut done = String::with_capacity(html.len());
    for (number, part) in html.split("=\"/").enumerate() {
        let linked = part.split_once('"').map(|(path, _)| format!("/{path}"));
        let has_version = linked.is_some_and(|path| !path.ends_with(".html") && is_file(&path));
        match (number, has_version) {
            (0, _) => {}
            (_, true) => done += &format!("=\"/v-{version}/"),
            (_, false) => done += "=\"/",
        }
        done += part;
    }
    done
}

fn texts<'a>(files: &'a Files, extension: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    files
        .iter()
        .filter(move |(path, _)| path.ends_with(extension))
        .map(move |(path, bytes)| (path.clone(), text(bytes)))
}

/// A script or style without indentation and without the lines that are comments from end to end. Every line keeps its
/// number. The page's tests check that no text of several lines looks like a comment or indentation.
pub(crate) fn strip(text: &str) -> String {
    let mut inside = false;
    let mut stripped = String::with_capacity(text.len());
    for line in text.lines().map(str::trim) {
        let opens = line.starts_with("/*") && line.find("*/").is_none_or(|end| end + 2 == line.len());
        if !inside && !opens && !line.starts_with("//") {
            stripped.push_str(line);
        }
        inside = (inside || opens) && !line.ends_with("*/");
        stripped.push('\n');
    }
    stripped
}
