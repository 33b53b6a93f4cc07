//! Packs `public/` into the program: every file with its brotli and gzip forms where those are
//! smaller. What scripts and styles say to their readers only, comments and indentation, stays at
//! home; every line keeps its number, so that an error names the line of the source.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Formats that are compressed already.
const PACKED: [&str; 6] = ["png", "jpg", "webp", "woff2", "ogg", "mp3"];

const PLACEHOLDER: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <title>webrtc-box</title>\n<p>This build of webrtc-box was made without its page: the folder\n\
    <code>public</code> was empty when the program was compiled. Build it again with the page in\n\
    place, or start it with the <code>public</code> setting naming the folder the page is in.</p>\n";

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("public");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=public");
    let mut files = Vec::new();
    if root.is_dir() {
        walk(&root, &mut files)?;
    }
    let mut table = String::from("&[\n");
    for (number, file) in files.iter().enumerate() {
        let path = url_path(&root, file);
        entry(&mut table, &out, number, &path, &lean(&path, fs::read(file)?))?;
    }
    if !root.join("index.html").is_file() {
        println!("cargo::warning=public/index.html is missing; a placeholder takes its place");
        entry(&mut table, &out, files.len(), "/index.html", PLACEHOLDER.as_bytes())?;
    }
    table.push(']');
    fs::write(out.join("page.rs"), table)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        match entry.file_type()? {
            _ if hidden => {}
            kind if kind.is_dir() => walk(&entry.path(), files)?,
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

fn url_path(root: &Path, file: &Path) -> String {
    let parts = file.strip_prefix(root).into_iter().flat_map(Path::components);
    parts.fold(String::new(), |path, part| path + "/" + &part.as_os_str().to_string_lossy())
}

/// A script or style without the lines that are comments from end to end and without indentation.
/// The page's tests see to it that no literal of several lines could be meant.
fn lean(path: &str, bytes: Vec<u8>) -> Vec<u8> {
    if !path.ends_with(".js") && !path.ends_with(".css") {
        return bytes;
    }
    let Ok(text) = std::str::from_utf8(&bytes) else { return bytes };
    let mut within = false;
    let mut lean = String::with_capacity(text.len());
    for line in text.lines().map(str::trim) {
        let opens = line.starts_with("/*") && line.find("*/").is_none_or(|end| end + 2 == line.len());
        if !within && !opens && !line.starts_with("//") {
            lean.push_str(line);
        }
        within = (within || opens) && !line.ends_with("*/");
        lean.push('\n');
    }
    lean.into_bytes()
}

/// Writes the forms of one file into the build folder and a line of the table that includes them.
fn entry(table: &mut String, out: &Path, number: usize, path: &str, bytes: &[u8]) -> io::Result<()> {
    let extension = path.rsplit('.').next().unwrap_or_default();
    let compressible = !PACKED.contains(&extension);
    let plain = include(out, number, "plain", bytes)?;
    let brotli = compressible.then(|| brotli(bytes)).transpose()?;
    let brotli = smaller(out, number, "br", brotli, bytes.len())?;
    let gzip = compressible.then(|| gzip(bytes)).transpose()?;
    let gzip = smaller(out, number, "gz", gzip, bytes.len())?;
    writeln!(table, "Embedded {{ path: {path:?}, plain: {plain}, brotli: {brotli}, gzip: {gzip} }},")
        .map_err(io::Error::other)
}

fn smaller(
    out: &Path,
    number: usize,
    form: &str,
    packed: Option<Vec<u8>>,
    than: usize,
) -> io::Result<String> {
    match packed.filter(|packed| packed.len() < than) {
        Some(packed) => Ok(format!("Some({})", include(out, number, form, &packed)?)),
        None => Ok("None".to_owned()),
    }
}

fn include(out: &Path, number: usize, form: &str, bytes: &[u8]) -> io::Result<String> {
    let file = out.join(format!("page-{number}.{form}"));
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
