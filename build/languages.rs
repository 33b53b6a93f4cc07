//! Adds to the page what depends on its languages and must be there before any script runs: the sentences for a page
//! that does not start, and a manifest in each language. `locales/languages.js` lists the languages.
//!
//! `public/` holds them too, so that it can be served as it is; these replace them.

use super::page::Files;

const LIST: &str = "/locales/languages.js";
const MANIFEST: &str = "/manifest.webmanifest";

struct Language {
    /// The name of its files, such as `zh`.
    code: String,
    /// The value of `lang`, such as `zh-CN` (BCP 47).
    tag: String,
    /// The text of `locales/CODE.js`.
    words: String,
}

/// Adds a manifest per language, and to each page its sentences in each language.
pub(crate) fn apply(files: &mut Files) -> Result<(), String> {
    let languages = list(files)?;
    let Some((_, others)) = languages.split_first() else { return Ok(()) };
    if let Some(manifest) = text(files, MANIFEST) {
        for language in others {
            let path = format!("/manifest.{}.webmanifest", language.code);
            files.insert(path, manifest_in(language, &manifest)?.into_bytes());
        }
    }
    let codes = others.iter().map(|language| &*language.code).collect::<Vec<_>>().join(" ");
    let pages: Vec<String> = files.keys().filter(|path| path.ends_with(".html")).cloned().collect();
    for page in pages {
        let html = text(files, &page).unwrap_or_default();
        let html = with_sentences(&with_attribute(&html, "data-manifests", &codes), &languages)?;
        files.insert(page, html.into_bytes());
    }
    Ok(())
}

/// The languages of the list; none where the page is another one, without a list.
fn list(files: &Files) -> Result<Vec<Language>, String> {
    let lines = text(files, LIST).unwrap_or_default();
    let rows = lines.lines().filter_map(|line| Some((field(line, "code: '")?, field(line, "tag: '")?)));
    let language = |(code, tag): (&str, &str)| {
        let path = format!("/locales/{code}.js");
        let words =
            text(files, &path).ok_or_else(|| format!("public{path} is missing, but {LIST} names it"))?;
        Ok(Language { code: code.to_owned(), tag: tag.to_owned(), words })
    };
    rows.map(language).collect()
}

/// The manifest with the names and the tag of `language`.
fn manifest_in(language: &Language, manifest: &str) -> Result<String, String> {
    let mut lines = Vec::new();
    for line in manifest.lines() {
        lines.push(match line.trim_start().split_once(':') {
            Some(("\"lang\"", _)) => format!("  \"lang\": \"{}\",", language.tag),
            Some(("\"name\"", _)) => format!("  \"name\": \"{}\",", language.text("title")?),
            Some(("\"short_name\"", _)) => {
                format!("  \"short_name\": \"{}\",", language.text("title.short")?)
            }
            _ => line.to_owned(),
        });
    }
    Ok(lines.join("\n") + "\n")
}

/// Replaces the value of the attribute `name` wherever it is.
fn with_attribute(html: &str, name: &str, value: &str) -> String {
    let start = format!("{name}=\"");
    let mut parts = html.split(&*start);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |html, rest| {
        let after = rest.split_once('"').map_or("", |(_, after)| after);
        format!("{html}{start}{value}\"{after}")
    })
}

/// Replaces what is in each `<div data-languages="key">` by the sentence `KEY` in every language.
fn with_sentences(html: &str, languages: &[Language]) -> Result<String, String> {
    let mut parts = html.split("data-languages=\"");
    let mut done = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (tag, inside) = part.split_once('>').unwrap_or((part, ""));
        let key = tag.split('"').next().unwrap_or_default();
        let (_, after) =
            inside.split_once("</div>").ok_or_else(|| format!("no </div> after data-languages={key}"))?;
        done += &format!("data-languages=\"{tag}>\n");
        for language in languages {
            done += &format!("  <p lang=\"{}\">{}</p>\n", language.tag, language.text(key)?);
        }
        done += "</div>";
        done += after;
    }
    Ok(done)
}

impl Language {
    /// The sentence of `key`, which stands on a line of its own, in single quotes and without `\`.
    fn text(&self, key: &str) -> Result<&str, String> {
        let start = format!("'{key}': '");
        let found =
            self.words.lines().find_map(|line| line.trim_start().strip_prefix(&*start)?.strip_suffix("',"));
        let plain = found.filter(|sentence| !sentence.contains(['\\', '<', '&', '"']));
        plain.ok_or_else(|| {
            format!("public/locales/{}.js needs a plain sentence for '{key}' on one line", self.code)
        })
    }
}

fn field<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    Some(line.split_once(start)?.1.split_once('\'')?.0)
}

fn text(files: &Files, path: &str) -> Option<String> {
    Some(String::from_utf8_lossy(files.get(path)?).into_owned())
}
