//! Packs `public/` into the program: every file with its brotli and gzip forms where those are smaller. The client script of
//! Socket.IO is packed too, if npm has installed it.
//!
//! The modules of a page are joined into one file, and what only readers of the source need, comments and
//! indentation, is left out. `build/page.rs` makes these changes; this file reads, compresses and writes.

#[path = "build/bundle.rs"]
mod bundle;
#[path = "build/languages.rs"]
mod languages;
#[path = "build/page.rs"]
mod page;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use sha2::{Digest as _, Sha256};

/// Formats that are compressed already.
const COMPRESSED: [&str; 6] = ["png", "jpg", "webp", "woff2", "ogg", "mp3"];

const PLACEHOLDER: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <title>webrtc-box</title>\n<p>This build of webrtc-box was made without its page: the folder\n\
    <code>public</code> was empty when the program was compiled. Build it again with the page in\n\
    place, or start it with the <code>public</code> setting naming the folder the page is in.</p>\n";

/// Where npm puts the client script of Socket.IO.
const SOCKET_IO_CLIENT: &str = "node_modules/socket.io-client/dist/socket.io.min.js";

fn main() -> io::Result<()> {
    let project = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = project.join("public");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    for input in ["build.rs", "build", "public"] {
        println!("cargo::rerun-if-changed={input}");
    }
    let mut files = page::Files::new();
    if root.is_dir() {
        read_folder(&root, "", &mut files)?;
    }
    if !files.contains_key("/index.html") {
        println!("cargo::warning=public/index.html is missing; a placeholder takes its place");
        files.insert("/index.html".to_owned(), PLACEHOLDER.as_bytes().to_vec());
    }
    let page = page::build(files, digest).map_err(io::Error::other)?;
    let mut files = String::new();
    for (number, (path, bytes)) in page.files.iter().enumerate() {
        write_entry(&mut files, &out, &number.to_string(), path, bytes)?;
    }
    let mut languages = String::new();
    for language in &page.languages {
        let (code, also) = (&language.code, &language.also);
        writeln!(languages, "PageLanguage {{ code: {code:?}, also: &{also:?} }},")
            .map_err(io::Error::other)?;
    }
    let version = page.version;
    let page = format!(
        "EmbeddedPage {{ version: {version:?}, languages: &[\n{languages}], files: &[\n{files}] }}\n"
    );
    fs::write(out.join("page.rs"), page)?;
    pack_socket_io_client(&project, &out)
}

/// Writes `Some` with the client script, or `None`.
fn pack_socket_io_client(project: &Path, out: &Path) -> io::Result<()> {
    // A path that does not exist would run this script at every build.
    let nearest = [SOCKET_IO_CLIENT, "node_modules/.package-lock.json", "package-lock.json"];
    if let Some(input) = nearest.iter().find(|input| project.join(input).exists()) {
        println!("cargo::rerun-if-changed={input}");
    }
    let script = project.join(SOCKET_IO_CLIENT);
    let entry = if script.exists() {
        let mut entry = String::from("Some(");
        write_entry(&mut entry, out, "socket-io", "/socket.io/socket.io.js", &fs::read(script)?)?;
        entry.trim_end().trim_end_matches(',').to_owned() + ")"
    } else {
        "None".to_owned()
    };
    fs::write(out.join("socket-io-client.rs"), entry)
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads every file below `folder` that is not hidden, by URL path.
fn read_folder(folder: &Path, prefix: &str, files: &mut page::Files) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}/{name}");
        match entry.file_type()? {
            _ if name.starts_with('.') => {}
            kind if kind.is_dir() => read_folder(&entry.path(), &path, files)?,
            kind if kind.is_file() => _ = files.insert(path, fs::read(entry.path())?),
            _ => {}
        }
    }
    Ok(())
}

/// Writes the forms of one file into the build folder, and a row of the table that includes them.
fn write_entry(table: &mut String, out: &Path, name: &str, path: &str, bytes: &[u8]) -> io::Result<()> {
    let extension = path.rsplit('.').next().unwrap_or_default();
    let compressible = !COMPRESSED.contains(&extension);
    let plain = write_form(out, name, "plain", bytes)?;
    let brotli = compressible.then(|| brotli(bytes)).transpose()?;
    let brotli = write_smaller(out, name, "br", brotli, bytes.len())?;
    let gzip = compressible.then(|| gzip(bytes)).transpose()?;
    let gzip = write_smaller(out, name, "gz", gzip, bytes.len())?;
    writeln!(table, "Embedded {{ path: {path:?}, plain: {plain}, brotli: {brotli}, gzip: {gzip} }},")
        .map_err(io::Error::other)
}

fn write_smaller(
    out: &Path,
    name: &str,
    form: &str,
    packed: Option<Vec<u8>>,
    than: usize,
) -> io::Result<String> {
    match packed.filter(|packed| packed.len() < than) {
        Some(packed) => Ok(format!("Some({})", write_form(out, name, form, &packed)?)),
        None => Ok("None".to_owned()),
    }
}

fn write_form(out: &Path, name: &str, form: &str, bytes: &[u8]) -> io::Result<String> {
    let file = out.join(format!("page-{name}.{form}"));
    fs::write(&file, bytes)?;
    Ok(format!("include_bytes!({:?})", file.to_string_lossy()))
}

fn brotli(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams { quality: 11, ..Default::default() };
    brotli::BrotliCompress(&mut &*bytes, &mut packed, &parameters)?;
    Ok(packed)
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    // No name and no time in the header: the same page packs to the same bytes.
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(bytes)?;
    packer.finish()
}
