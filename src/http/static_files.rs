//! The page: files in memory, in the form a browser asks for, sent only if it has none of them yet.
//!
//! They are looked up by whole paths, never opened by one, so no path leads out of the folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};

use crate::error::Hint;

/// Bytes a folder given by the `public` setting may have in all.
const FOLDER_BYTES: u64 = 64 * 1024 * 1024;

/// Files a folder given by the `public` setting may have in all.
const FOLDER_FILES: usize = 2000;

/// The files of the page, by path.
#[derive(Debug)]
pub(super) struct Page {
    files: BTreeMap<String, File>,
    built_in: bool,
}

/// One file in each form we have it.
#[derive(Debug)]
pub(super) struct File {
    content_type: &'static str,
    plain: Form,
    brotli: Option<Form>,
    gzip: Option<Form>,
}

#[derive(Debug)]
struct Form {
    bytes: Bytes,
    encoding: Option<&'static str>,
    etag: String,
}

/// What `build.rs` packed.
struct Embedded {
    path: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

/// The folder of the `public` setting cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("public: {} cannot be served: {why}", .path.display())]
pub struct PageError {
    path: PathBuf,
    why: String,
}

static BUILT_IN: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

impl Page {
    /// The page that was compiled in.
    pub(super) fn built_in() -> Self {
        let bytes = Bytes::from_static;
        let file = |e: &Embedded| File::new(e.path, bytes(e.plain), e.brotli.map(bytes), e.gzip.map(bytes));
        Self { files: BUILT_IN.iter().map(|e| (e.path.to_owned(), file(e))).collect(), built_in: true }
    }

    /// The files of `folder` as they are now; they are read once.
    pub(super) fn folder(folder: &Path) -> Result<Self, PageError> {
        let mut found = Vec::new();
        walk(folder, String::new(), &mut found)?;
        let mut files = BTreeMap::new();
        let mut total = 0;
        for (path, on_disk) in found {
            let bytes = fs::read(&on_disk).map_err(|error| PageError::io(&on_disk, &error))?;
            total += bytes.len() as u64;
            if total > FOLDER_BYTES {
                return Err(PageError::new(folder, "it has more than 64 MiB"));
            }
            files.insert(path.clone(), File::new(&path, bytes.into(), None, None));
        }
        if !files.contains_key("/index.html") {
            return Err(PageError::new(folder, "there is no index.html in it"));
        }
        Ok(Self { files, built_in: false })
    }

    /// Whether a service worker may have its script at `path`: our page has none, one of their own may.
    pub(super) fn has_own(&self, path: &str) -> bool {
        !self.built_in && self.file(path).is_some()
    }

    /// The file at `path`, which begins with a slash and is as a URL has it.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        let decoded = || percent_decode_str(path).decode_utf8().ok();
        self.files.get(path).or_else(|| self.files.get(decoded()?.as_ref()))
    }
}

fn walk(folder: &Path, prefix: String, found: &mut Vec<(String, PathBuf)>) -> Result<(), PageError> {
    let entries = fs::read_dir(folder).map_err(|error| PageError::io(folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| PageError::io(folder, &error))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // Links are not followed, and what is hidden stays so.
        let kind = entry.file_type().map_err(|error| PageError::io(folder, &error))?;
        let path = format!("{prefix}/{name}");
        if name.starts_with('.') {
            continue;
        } else if kind.is_dir() {
            walk(&entry.path(), path, found)?;
        } else if kind.is_file() {
            found.push((path, entry.path()));
        }
        if found.len() > FOLDER_FILES {
            return Err(PageError::new(folder, "it has more than 2000 files"));
        }
    }
    Ok(())
}

impl File {
    fn new(path: &str, plain: Bytes, brotli: Option<Bytes>, gzip: Option<Bytes>) -> Self {
        let digest = URL_SAFE_NO_PAD.encode(&Sha256::digest(&plain)[..15]);
        // A strong ETag names one sequence of bytes, so each form has its own (RFC 9110 §8.8.3.3).
        let form =
            |bytes, encoding, suffix: &str| Form { bytes, encoding, etag: format!("\"{digest}{suffix}\"") };
        Self {
            content_type: content_type(path),
            plain: form(plain, None, ""),
            brotli: brotli.map(|bytes| form(bytes, Some("br"), "-br")),
            gzip: gzip.map(|bytes| form(bytes, Some("gzip"), "-gz")),
        }
    }

    /// The reply to a request with these `headers`: the smallest form it takes, or that it has it.
    pub(super) fn reply(&self, headers: &HeaderMap) -> Response {
        let form = self.form_for(headers);
        let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|given| names(given, &form.etag));
        let (status, body) = match known {
            true => (StatusCode::NOT_MODIFIED, Body::empty()),
            false => (StatusCode::OK, Body::from(form.bytes.clone())),
        };
        let mut reply = (status, body).into_response();
        let out = reply.headers_mut();
        out.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        out.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if let Ok(etag) = HeaderValue::from_str(&form.etag) {
            out.insert(header::ETAG, etag);
        }
        if let Some(encoding) = form.encoding {
            out.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        reply
    }

    fn form_for(&self, headers: &HeaderMap) -> &Form {
        let lines = headers.get_all(header::ACCEPT_ENCODING).iter();
        let accepted: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
        let takes = |form: &&Form| form.encoding.is_some_and(|encoding| accepts(&accepted, encoding));
        let packed = self.brotli.as_ref().filter(takes).or(self.gzip.as_ref().filter(takes));
        packed.unwrap_or(&self.plain)
    }
}

/// Whether `Accept-Encoding` lines name `encoding` with a weight that is not zero (RFC 9110 §12.5.3).
fn accepts(lines: &[&str], encoding: &str) -> bool {
    let items = lines.iter().flat_map(|line| line.split(','));
    let mut named = items.filter_map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next()?;
        let refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").or(part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.trim().parse() == Ok(0.0))
        });
        name.eq_ignore_ascii_case(encoding).then_some(!refused)
    });
    named.next().unwrap_or(false)
}

/// Whether an `If-None-Match` line names `etag`; compared weakly (RFC 9110 §13.1.2).
fn names(line: &HeaderValue, etag: &str) -> bool {
    let Ok(line) = line.to_str() else { return false };
    line.split(',').map(str::trim).any(|given| given == "*" || given.trim_start_matches("W/") == etag)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "wasm" => "application/wasm",
        "woff2" => "font/woff2",
        "ogg" => "audio/ogg",
        "mp3" => "audio/mpeg",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

impl PageError {
    fn new(path: &Path, why: impl Into<String>) -> Self {
        Self { path: path.to_owned(), why: why.into() }
    }

    fn io(path: &Path, error: &io::Error) -> Self {
        Self::new(path, error.to_string())
    }
}

impl Hint for PageError {
    fn hint(&self) -> String {
        "name a folder with the page in it".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_taken_unless_refused() {
        for (lines, taken) in [
            ("br", true),
            ("gzip, deflate, BR;q=0.5", true),
            ("br;q=0", false),
            ("br;q=0.000", false),
            ("br; q=0.001", true),
            ("gzip", false),
            ("*", false),
            ("brotli, xbr", false),
            ("", false),
        ] {
            assert_eq!(accepts(&[lines], "br"), taken, "{lines}");
        }
    }

    #[test]
    fn a_page_of_their_own_needs_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let error = Page::folder(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("public: ") && error.contains("no index.html"), "{error}");
        assert!(Page::folder(Path::new("/nowhere/at/all")).is_err());
    }
}
