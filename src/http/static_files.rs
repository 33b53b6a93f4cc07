//! The static files of the page, in memory: replies with the encoding that the browser accepts, or 304 if it has the file.
//!
//! A request only looks up a path in a map and opens no file, so no path can leave the folder.
//!
//! The HTML of the built-in page names its other files with their version, as `/v-VERSION/app/main.js`. Browsers keep those
//! for good and ask for the HTML alone. A page that was opened before an upgrade gets the current files under its version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};

use super::page_language::PageLanguage;
use crate::error::Hint;

/// Bytes in the folder of the `public` setting at most.
const MAX_FOLDER_BYTES: u64 = 64 * 1024 * 1024;

/// Files in the folder of the `public` setting at most.
const MAX_FOLDER_FILES: usize = 2000;

const HTML: &str = "text/html; charset=utf-8";

/// Replaces the old worker, deletes its caches, unregisters it and reloads its pages from this server.
const REMOVAL_SCRIPT: &str = "\
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil((async () => {
  for (const name of await caches.keys()) await caches.delete(name);
  await self.registration.unregister();
  for (const page of await self.clients.matchAll({ type: 'window' })) page.navigate(page.url).catch(() => {});
})()));
";

/// Sent with every request for the script of a worker (Service Workers §4.1), and with no other.
const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");

/// Lets the script control paths above its own.
const SERVICE_WORKER_ALLOWED: HeaderName = HeaderName::from_static("service-worker-allowed");

/// Whether pages of other origins may load a file (Fetch §3.6).
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The begin of a path with a version, and the digits of a version (`build/page.rs`).
const VERSION_PREFIX: &str = "/v-";
const VERSION_DIGITS: usize = 12;

/// The files of the page, by path.
#[derive(Debug)]
pub(super) struct StaticFiles {
    files: BTreeMap<String, File>,
    /// The version and the languages of the built-in page.
    built_in: Option<&'static EmbeddedPage>,
    /// The client script of Socket.IO, if this build has it.
    socket_io_client: Option<File>,
}

/// How long a browser may keep a file without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caching {
    /// It asks each time whether the file has changed.
    Revalidate,
    /// For good: other content has another path.
    Immutable,
}

/// One file in each available encoding.
#[derive(Debug)]
struct File {
    content_type: &'static str,
    plain: Variant,
    brotli: Option<Variant>,
    gzip: Option<Variant>,
}

#[derive(Debug)]
struct Variant {
    bytes: Bytes,
    encoding: Option<&'static str>,
    etag: String,
}

/// The page that `build.rs` embedded.
#[derive(Debug)]
struct EmbeddedPage {
    version: &'static str,
    languages: &'static [PageLanguage],
    files: &'static [Embedded],
}

#[derive(Debug)]
struct Embedded {
    path: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

/// The folder of the `public` setting cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("public: {} cannot be served: {reason}", .path.display())]
pub struct PageError {
    path: PathBuf,
    reason: String,
}

static BUILT_IN: EmbeddedPage = include!(concat!(env!("OUT_DIR"), "/page.rs"));

static SOCKET_IO_CLIENT: Option<Embedded> = include!(concat!(env!("OUT_DIR"), "/socket-io-client.rs"));

impl StaticFiles {
    /// The built-in page.
    pub(super) fn built_in() -> Self {
        let files = BUILT_IN.files.iter().map(|e| (e.path.to_owned(), e.file())).collect();
        Self {
            files,
            built_in: Some(&BUILT_IN),
            socket_io_client: SOCKET_IO_CLIENT.as_ref().map(Embedded::file),
        }
    }

    /// The files of `folder`, read once.
    pub(super) fn from_folder(folder: &Path) -> Result<Self, PageError> {
        let mut found = Vec::new();
        collect_files(folder, String::new(), &mut found)?;
        let mut files = BTreeMap::new();
        let mut total = 0;
        for (path, on_disk) in found {
            let bytes = fs::read(&on_disk).map_err(|error| PageError::io(&on_disk, &error))?;
            total += bytes.len() as u64;
            if total > MAX_FOLDER_BYTES {
                return Err(PageError::new(folder, "it has more than 64 MiB"));
            }
            files.insert(path.clone(), File::new(&path, bytes.into(), None, None));
        }
        if !files.contains_key("/index.html") {
            return Err(PageError::new(folder, "it has no index.html"));
        }
        let socket_io_client = SOCKET_IO_CLIENT.as_ref().map(Embedded::file);
        Ok(Self { files, built_in: None, socket_io_client })
    }

    /// Whether the folder of the `public` setting has a file at `path`, which may be its service worker. The built-in page
    /// has no service worker.
    pub(super) fn has_custom(&self, path: &str) -> bool {
        self.built_in.is_none() && self.file(path).is_some()
    }

    /// The reply with the file at `path`, the path of a URL.
    pub(super) fn reply(&self, path: &str, headers: &HeaderMap) -> Option<Response> {
        let versioned = self.built_in.and_then(|page| split_version(path).map(|parts| (page, parts)));
        let Some((page, (version, path))) = versioned else {
            return Some(self.file(path)?.reply(headers, Caching::Revalidate));
        };
        // A page has one address.
        let file = self.file(path).filter(|file| !file.is_page())?;
        let caching = if version == page.version { Caching::Immutable } else { Caching::Revalidate };
        Some(file.reply(headers, caching))
    }

    /// The reply with the page `name`, such as `/index`, in a language that the browser accepts.
    pub(super) fn page_reply(&self, name: &str, headers: &HeaderMap) -> Option<Response> {
        let languages = self.built_in.map_or(&[][..], |page| page.languages);
        let language = PageLanguage::accepted(languages, headers);
        let translated =
            language.and_then(|language| self.files.get(&format!("{name}.{}.html", language.code)));
        let file = translated.or_else(|| self.files.get(&format!("{name}.html")))?;
        let mut reply = file.reply(headers, Caching::Revalidate);
        if !languages.is_empty() {
            reply.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Language"));
        }
        Some(reply)
    }

    /// The reply with the client script of Socket.IO, for pages of any origin; `None` if this build has none.
    pub(super) fn socket_io_client(&self, headers: &HeaderMap) -> Option<Response> {
        let mut reply = self.socket_io_client.as_ref()?.reply(headers, Caching::Revalidate);
        reply.headers_mut().insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        Some(reply)
    }

    /// The file at `path`, without a version.
    fn file(&self, path: &str) -> Option<&File> {
        let decoded = || percent_decode_str(path).decode_utf8().ok();
        self.files.get(path).or_else(|| self.files.get(decoded()?.as_ref()))
    }
}

/// The version and the path of a file in a path with a version.
fn split_version(path: &str) -> Option<(&str, &str)> {
    let (version, file) = path.strip_prefix(VERSION_PREFIX)?.split_at_checked(VERSION_DIGITS)?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (version.bytes().all(is_digit) && file.starts_with('/')).then_some((version, file))
}

fn collect_files(folder: &Path, prefix: String, found: &mut Vec<(String, PathBuf)>) -> Result<(), PageError> {
    let entries = fs::read_dir(folder).map_err(|error| PageError::io(folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| PageError::io(folder, &error))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // Symbolic links and hidden files are skipped.
        let kind = entry.file_type().map_err(|error| PageError::io(folder, &error))?;
        let path = format!("{prefix}/{name}");
        if name.starts_with('.') {
            continue;
        } else if kind.is_dir() {
            collect_files(&entry.path(), path, found)?;
        } else if kind.is_file() {
            found.push((path, entry.path()));
        }
        if found.len() > MAX_FOLDER_FILES {
            return Err(PageError::new(folder, "it has more than 2000 files"));
        }
    }
    Ok(())
}

impl Embedded {
    fn file(&self) -> File {
        let bytes = Bytes::from_static;
        File::new(self.path, bytes(self.plain), self.brotli.map(bytes), self.gzip.map(bytes))
    }
}

impl File {
    fn new(path: &str, plain: Bytes, brotli: Option<Bytes>, gzip: Option<Bytes>) -> Self {
        let digest = URL_SAFE_NO_PAD.encode(&Sha256::digest(&plain)[..15]);
        // A strong ETag identifies one sequence of bytes, so each encoding has its own (RFC 9110 §8.8.3.3).
        let variant = |bytes, encoding, suffix: &str| Variant {
            bytes,
            encoding,
            etag: format!("\"{digest}{suffix}\""),
        };
        Self {
            content_type: content_type(path),
            plain: variant(plain, None, ""),
            brotli: brotli.map(|bytes| variant(bytes, Some("br"), "-br")),
            gzip: gzip.map(|bytes| variant(bytes, Some("gzip"), "-gz")),
        }
    }

    /// The reply to a request with these `headers`: the smallest accepted encoding, or 304.
    fn reply(&self, headers: &HeaderMap, caching: Caching) -> Response {
        let variant = self.variant_for(headers);
        let is_known = headers.get_all(header::IF_NONE_MATCH).iter().any(|given| lists(given, &variant.etag));
        let (status, body) = match is_known {
            true => (StatusCode::NOT_MODIFIED, Body::empty()),
            false => (StatusCode::OK, Body::from(variant.bytes.clone())),
        };
        let mut reply = (status, body).into_response();
        let out = reply.headers_mut();
        out.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        out.insert(header::CACHE_CONTROL, caching.header());
        out.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if let Ok(etag) = HeaderValue::from_str(&variant.etag) {
            out.insert(header::ETAG, etag);
        }
        if let Some(encoding) = variant.encoding {
            out.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        reply
    }

    fn is_page(&self) -> bool {
        self.content_type == HTML
    }

    fn variant_for(&self, headers: &HeaderMap) -> &Variant {
        let lines = headers.get_all(header::ACCEPT_ENCODING).iter();
        let accepted: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
        let accepted_by_client =
            |variant: &&Variant| variant.encoding.is_some_and(|encoding| accepts(&accepted, encoding));
        let compressed =
            self.brotli.as_ref().filter(accepted_by_client).or(self.gzip.as_ref().filter(accepted_by_client));
        compressed.unwrap_or(&self.plain)
    }
}

impl Caching {
    fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Revalidate => "no-cache",
            Self::Immutable => "public, max-age=31536000, immutable",
        })
    }
}

/// Whether `Accept-Encoding` lines list `encoding` with a weight above zero (RFC 9110 §12.5.3).
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

/// Whether an `If-None-Match` line lists `etag`, by weak comparison (RFC 9110 §13.1.2).
fn lists(line: &HeaderValue, etag: &str) -> bool {
    let Ok(line) = line.to_str() else { return false };
    line.split(',').map(str::trim).any(|given| given == "*" || given.trim_start_matches("W/") == etag)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => HTML,
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
    fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: path.to_owned(), reason: reason.into() }
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

/// Whether `request` fetches the script of a service worker.
///
/// A service worker that an earlier application left on this origin keeps answering its visitors. Browsers check its
/// script now and then; the reply of [`stale_worker_removal`] removes it.
pub(super) fn is_service_worker_request<B>(request: &Request<B>) -> bool {
    let is_script = request.headers().get(SERVICE_WORKER).is_some_and(|value| value == "script");
    request.method() == Method::GET && is_script
}

/// A service worker script that removes itself.
pub(super) fn stale_worker_removal() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (SERVICE_WORKER_ALLOWED, HeaderValue::from_static("/")),
    ];
    (headers, REMOVAL_SCRIPT).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_accepted_unless_its_weight_is_zero() {
        for (lines, accepted) in [
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
            assert_eq!(accepts(&[lines], "br"), accepted, "{lines}");
        }
    }

    #[test]
    fn a_version_is_twelve_hexadecimal_digits_before_a_path() {
        assert_eq!(split_version("/v-0123456789ab/app/main.js"), Some(("0123456789ab", "/app/main.js")));
        assert_eq!(split_version("/v-0123456789ab/"), Some(("0123456789ab", "/")));
        for path in [
            "/v-0123456789a/app/main.js",
            "/v-0123456789abc/main.js",
            "/v-0123456789AB/main.js",
            "/v-0123456789ab",
            "/v-0123456789aé/a",
            "/v-/main.js",
            "/w-0123456789ab/a",
        ] {
            assert_eq!(split_version(path), None, "{path}");
        }
    }

    #[test]
    fn a_folder_without_index_html_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let error = StaticFiles::from_folder(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("public: ") && error.contains("no index.html"), "{error}");
        assert!(StaticFiles::from_folder(Path::new("/nowhere/at/all")).is_err());
    }
}
