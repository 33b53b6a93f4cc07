//! Adds to the page what depends on its languages and must be there before any script runs: the sentences for a page
//! that does not start, a manifest in each language, and each page in each language with its words in a data block.
//! `locales/languages.js` lists the languages.
//!
//! `public/` holds them too, so that it can be served as it is; these replace them.

use std::fmt::Write as _;

use super::page::Files;

const LIST: &str = "/locales/languages.js";
const MANIFEST: &str = "/manifest.webmanifest";

/// Where the words of a page go: before its first script, which reads them.
const WORDS_MARKER: &str = "<!-- words -->\n";

/// A language of the page.
#[derive(Clone, Debug)]
pub(crate) struct Language {
    /// The name of its files, such as `zh`, and what a language tag begins with.
    pub(crate) code: String,
    /// Other beginnings of a language tag, in lower case.
    pub(crate) also: Vec<String>,
    /// The value of `lang`, such as `zh-CN` (BCP 47).
    tag: String,
    /// The text of `locales/CODE.js`.
    words: String,
    /// The text of `locales/CODE-test.js`, of the connection test alone.
    test_words: String,
}

/// Adds a manifest per language, and to each page its sentences in each language. Returns the languages.
pub(crate) fn apply(files: &mut Files) -> Result<Vec<Language>, String> {
    let languages = list(files)?;
    let Some((_, others)) = languages.split_first() else { return Ok(languages) };
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
    Ok(languages)
}

/// The page `html` in each language, by its path: `/index.html` in the first one, then `/index.zh.html`.
pub(crate) fn translations(
    path: &str,
    html: &str,
    languages: &[Language],
) -> Result<Vec<(String, String)>, String> {
    let Some((first, others)) = languages.split_first() else {
        return Ok(vec![(path.to_owned(), html.to_owned())]);
    };
    let title = html.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let (title, _) = title.ok_or_else(|| format!("public{path} has no <title>"))?;
    let key = first.key_of(title)?;
    let key = key.ok_or_else(|| format!("public{path}: {} has no '{title}'", first.code))?;
    let name = path.trim_end_matches(".html");
    let mut pages = vec![(path.to_owned(), html.replace(WORDS_MARKER, &first.data_block()?))];
    for language in others {
        let head = [
            (format!("<html lang=\"{}\">", first.tag), format!("<html lang=\"{}\">", language.tag)),
            (format!("<title>{title}</title>"), format!("<title>{}</title>", language.title(&key)?)),
            (format!("\"{MANIFEST}\""), format!("\"/manifest.{}.webmanifest\"", language.code)),
            (WORDS_MARKER.to_owned(), language.data_block()?),
        ];
        let page = head.iter().fold(html.to_owned(), |html, (from, to)| html.replacen(&**from, to, 1));
        pages.push((format!("{name}.{}.html", language.code), page));
    }
    Ok(pages)
}

/// The languages of the list; none where the page is another one, without a list.
fn list(files: &Files) -> Result<Vec<Language>, String> {
    let lines = text(files, LIST).unwrap_or_default();
    let rows = lines.lines().filter_map(|line| Some((line, field(line, "code: '")?, field(line, "tag: '")?)));
    let language = |(line, code, tag): (&str, &str, &str)| {
        let words = |name: String| {
            text(files, &name).ok_or_else(|| format!("public{name} is missing, but {LIST} names it"))
        };
        let also = line
            .split_once("also: [")
            .and_then(|(_, rest)| rest.split_once(']'))
            .map_or("", |(list, _)| list);
        let also = also.split(',').map(|tag| tag.trim().trim_matches('\'').to_owned());
        Ok(Language {
            code: code.to_owned(),
            also: also.filter(|tag| !tag.is_empty()).collect(),
            tag: tag.to_owned(),
            words: words(format!("/locales/{code}.js"))?,
            test_words: words(format!("/locales/{code}-test.js"))?,
        })
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
    /// The sentence of `key` in the words of the lobby.
    fn text(&self, key: &str) -> Result<String, String> {
        self.plain(&self.words, key)
    }

    /// The sentence of `key` in `words`, which may stand in HTML and in JSON.
    fn plain(&self, words: &str, key: &str) -> Result<String, String> {
        let file = format!("public/locales/{}.js", self.code);
        let found = sentences(words, &file)?.into_iter().find(|(name, _)| name == key);
        let plain = found.map(|(_, sentence)| sentence).filter(|text| !text.contains(['\\', '<', '&', '"']));
        plain.ok_or_else(|| format!("{file} needs a plain sentence for '{key}' on one line"))
    }

    /// The words of the lobby as JSON, in a script that no browser runs.
    fn data_block(&self) -> Result<String, String> {
        let file = format!("public/locales/{}.js", self.code);
        let mut json = String::new();
        for (key, sentence) in sentences(&self.words, &file)? {
            let comma = if json.is_empty() { '{' } else { ',' };
            _ = write!(json, "{comma}{}:{}", json_text(&key), json_text(&sentence));
        }
        let code = &self.code;
        Ok(format!(
            "<script type=\"application/json\" id=\"words\" data-language=\"{code}\">{json}}}</script>\n"
        ))
    }

    /// The sentence of `key` for a title: that of the connection test, if it is its own.
    fn title(&self, (key, of_test): &(String, bool)) -> Result<String, String> {
        self.plain(if *of_test { &self.test_words } else { &self.words }, key)
    }

    /// The key of `sentence`, and whether it is in the words of the connection test.
    fn key_of(&self, sentence: &str) -> Result<Option<(String, bool)>, String> {
        for (words, of_test) in [(&self.words, false), (&self.test_words, true)] {
            let sentences = sentences(words, &format!("public/locales/{}.js", self.code))?;
            if let Some((key, _)) = sentences.into_iter().find(|(_, each)| each == sentence) {
                return Ok(Some((key, of_test)));
            }
        }
        Ok(None)
    }
}

/// The keys and sentences of a module with words: one per line in an object literal, in single quotes.
fn sentences(module: &str, file: &str) -> Result<Vec<(String, String)>, String> {
    let mut lines = module.lines().enumerate().skip_while(|(_, line)| *line != "export const words = {");
    lines.next().ok_or_else(|| format!("{file} needs a line `export const words = {{`"))?;
    let mut found = Vec::new();
    for (number, line) in lines {
        let text = line.trim();
        if line == "};" {
            return Ok(found);
        } else if !text.is_empty() && !text.starts_with("//") {
            let sentence = sentence(text);
            found.push(
                sentence.ok_or_else(|| format!("{file}:{}: write it as `'key': 'text',`", number + 1))?,
            );
        }
    }
    Err(format!("{file} needs a line `}};` after its words"))
}

/// The key and the text of a line such as `'KEY': 'It\'s off',`.
fn sentence(line: &str) -> Option<(String, String)> {
    let (key, text) = line.strip_prefix('\'')?.strip_suffix("',")?.split_once("': '")?;
    let mut unescaped = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        unescaped.push(match character {
            '\\' => characters.next().filter(|escaped| matches!(escaped, '\'' | '\\'))?,
            '\'' => return None,
            other => other,
        });
    }
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    plain.then(|| (key.to_owned(), unescaped))
}

/// A JSON string that may be in HTML: `<` begins no tag in it.
fn json_text(text: &str) -> String {
    let mut json = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '<' | '\0'..' ' => _ = write!(json, "\\u{:04x}", u32::from(character)),
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

fn field<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    Some(line.split_once(start)?.1.split_once('\'')?.0)
}

fn text(files: &Files, path: &str) -> Option<String> {
    Some(String::from_utf8_lossy(files.get(path)?).into_owned())
}
