//! The page build: joined modules, preload lines, languages.

#[path = "../../build/bundle.rs"]
mod bundle;
#[path = "../../build/languages.rs"]
mod languages;
#[path = "../../build/page.rs"]
mod page;

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use page::Files;

fn public() -> Files {
    fn read(folder: &Path, prefix: &str, files: &mut Files) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = format!("{prefix}/{}", entry.file_name().to_string_lossy());
            match entry.file_type()?.is_dir() {
                true => read(&entry.path(), &path, files)?,
                false => _ = files.insert(path, fs::read(entry.path())?),
            }
        }
        Ok(())
    }
    let mut files = Files::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("public"), "", &mut files).unwrap();
    files
}

fn text(files: &Files, path: &str) -> String {
    String::from_utf8(files.get(path).unwrap_or_else(|| panic!("no {path}")).clone()).unwrap()
}

/// The built form of a page with these scripts, which loads `/a.js`.
fn built(scripts: &[(&str, &str)]) -> Result<Files, String> {
    let html = "<!-- modulepreload -->\n<script type=\"module\" src=\"/a.js\"></script>";
    let page = [("/index.html".to_owned(), html.as_bytes().to_vec())];
    let scripts = scripts
        .iter()
        .map(|(path, script)| (format!("/{path}.js"), format!("// {path}\n{script}").into_bytes()));
    page::build(page.into_iter().chain(scripts).collect())
}

#[test]
fn each_page_module_is_in_one_file_and_keeps_its_lines() {
    let source = public();
    let built = page::build(source.clone()).unwrap();
    let mut found = BTreeSet::new();
    for (path, _) in built.iter().filter(|(path, _)| path.ends_with(".js")) {
        let joined = text(&built, path);
        let lines: Vec<&str> = joined.lines().collect();
        found.extend((!joined.contains("// /")).then(|| path.clone()));
        for (first, line) in lines.iter().enumerate() {
            let Some((_, module)) = line.split_once("// ").filter(|(_, name)| name.starts_with('/')) else {
                continue;
            };
            found.insert(module.to_owned());
            let mut in_import = false;
            for (n, line) in page::strip(&text(&source, module)).lines().enumerate().skip(1) {
                let sent = lines[first + n];
                in_import |= line.starts_with("import ");
                let changed = in_import || line.contains("import(");
                in_import &= !line.ends_with(';');
                assert!(
                    changed || line.trim_start_matches("export ") == sent.trim_start_matches("export "),
                    "{module}:{n}"
                );
            }
        }
    }
    let all = source.keys().filter(|path| path.ends_with(".js")).cloned().collect();
    assert_eq!(found, all);
}

#[test]
fn page_preloads_exactly_what_its_scripts_import() {
    let built = page::build(public()).unwrap();
    let preloads = |page: &str| -> Vec<String> {
        let html = text(&built, page);
        let lines = html.lines().filter_map(|line| line.strip_prefix("<link rel=\"modulepreload\" href=\""));
        lines.map(|line| line.trim_end_matches("\">").to_owned()).collect()
    };
    assert_eq!(preloads("/index.html"), [""; 0], "its two scripts import no other file");
    assert_eq!(preloads("/test.html"), ["/locales/current-language.js"]);
    for page in ["/index.html", "/test.html"] {
        assert!(!text(&built, page).contains("<!-- modulepreload"));
    }
}

#[test]
fn joined_module_is_a_function_that_returns_its_exports() {
    let scripts = [
        ("a", "import {\n  one as uno,\n} from './b.js';\nuno(await import('./late.js'));\n"),
        ("b", "export function one() {}\nexport const two = 2; // unused\n"),
        ("late", "export const x = 1;\n"),
    ];
    let built = built(&scripts).unwrap();
    let joined = "const $0 = (() => { // /b.js\nfunction one() {}\nconst two = 2; // unused\nreturn { one }; })();\n\
        // /a.js\nconst { one: uno } = $0;\n\n\nuno(await import('/late.js'));\n";
    assert_eq!(text(&built, "/a.js"), joined);
    assert_eq!(text(&built, "/late.js"), "\nexport const x = 1;\n");
    assert!(!built.contains_key("/b.js"));
}

#[test]
fn script_imported_by_a_script_stays_a_module_and_is_preloaded() {
    let scripts =
        [("a", "import { x } from './late.js';\nimport('./late.js');\n"), ("late", "export const x = 1;\n")];
    let built = built(&scripts).unwrap();
    assert!(text(&built, "/a.js").starts_with("import * as $1 from '/late.js';\n"));
    assert!(
        text(&built, "/index.html").starts_with("<link rel=\"modulepreload\" href=\"/late.js\">\n<script")
    );
}

#[test]
fn unsupported_syntax_fails_the_build_with_file_and_line() {
    let fails = |scripts: &[(&str, &str)], sentence: &str| {
        let error = built(scripts).unwrap_err();
        assert!(error.contains(sentence), "{error}");
    };
    fails(&[("a", "\nimport b from './b.js';\n")], "public/a.js:3: write it as");
    fails(&[("a", "import { b } from './b.js';\n")], "public/b.js is missing");
    fails(
        &[("a", "import { b } from './b.js';\n"), ("b", "export const c = 1;\n")],
        "a.js:2: /b.js exports no b",
    );
    fails(&[("a", "export let n = 0;\n")], "public/a.js:2: export a `const`");
    fails(&[("a", "export default 0;\n")], "public/a.js:2: export a `const`");
    let circle = [
        ("a", "import { b } from './b.js';\n"),
        ("b", "import { c } from './c.js';\nexport const b = 1;\n"),
        ("c", "import { b } from './b.js';\nexport const c = 1;\n"),
    ];
    fails(&circle, "/b.js imports itself");
    let shared = [
        ("a", "import { b } from './b.js';\nimport('./late.js');\n"),
        ("late", "import { b } from './b.js';\n"),
        ("b", "export const b = 1;\n"),
    ];
    fails(&shared, "/b.js would be in /a.js and in /late.js");
}

#[test]
fn new_language_is_in_the_html_and_has_a_manifest() {
    let mut files = public();
    let list = text(&files, "/locales/languages.js");
    let line = list.lines().find(|line| line.contains("'zh-CN'")).unwrap();
    let third = line.replace("zh-CN", "qaa-FR").replace("zh", "qaa");
    files.insert(
        "/locales/languages.js".to_owned(),
        list.replace(line, &format!("{line}\n{third}")).into_bytes(),
    );
    for name in ["", "-details", "-test"] {
        let words = text(&files, &format!("/locales/en{name}.js")).replace("'Video call'", "'Appel vidéo'");
        files.insert(format!("/locales/qaa{name}.js"), words.into_bytes());
    }
    let built = page::build(files).unwrap();
    let manifest = text(&built, "/manifest.qaa.webmanifest");
    assert!(
        manifest.contains("\"lang\": \"qaa-FR\"") && manifest.contains("\"name\": \"Appel vidéo\""),
        "{manifest}"
    );
    assert!(text(&built, "/index.html").contains("data-manifests=\"zh qaa"));
    for page in ["/index.html", "/test.html"] {
        assert_eq!(text(&built, page).matches("<p lang=\"qaa-FR\">").count(), 2, "{page}");
    }
}

#[test]
fn public_html_holds_the_text_of_the_build_in_every_language() {
    let source = public();
    let built = page::build(source.clone()).unwrap();
    for manifest in ["/manifest.zh.webmanifest", "/manifest.zh-Hant.webmanifest"] {
        assert_eq!(text(&built, manifest), text(&source, manifest));
    }
    for page in ["/index.html", "/test.html"] {
        let without = |html: String| {
            html.lines().filter(|line| !line.contains("modulepreload")).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(without(text(&built, page)), without(text(&source, page)), "{page}");
    }
}
