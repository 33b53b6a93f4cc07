//! The page build: joined modules, preload lines, languages, versions.

#[path = "../../build/bundle.rs"]
mod bundle;
#[path = "../../build/languages.rs"]
mod languages;
#[path = "../../build/page.rs"]
mod page;

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use page::{BuiltPage, Files};
use sha2::{Digest as _, Sha256};

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

fn build(files: Files) -> Result<BuiltPage, String> {
    page::build(files, |bytes| format!("{:x}", Sha256::digest(bytes)))
}

fn text(files: &Files, path: &str) -> String {
    String::from_utf8(files.get(path).unwrap_or_else(|| panic!("no {path}")).clone()).unwrap()
}

/// The built files of a page with these scripts, which loads `/a.js`.
fn built(scripts: &[(&str, &str)]) -> Result<Files, String> {
    let html = "<!-- modulepreload -->\n<script type=\"module\" src=\"/a.js\"></script>";
    let page = [("/index.html".to_owned(), html.as_bytes().to_vec())];
    let scripts = scripts
        .iter()
        .map(|(path, script)| (format!("/{path}.js"), format!("// {path}\n{script}").into_bytes()));
    Ok(build(page.into_iter().chain(scripts).collect())?.files)
}

#[test]
fn each_page_module_is_in_one_file_and_keeps_its_lines() {
    let source = public();
    let built = build(source.clone()).unwrap().files;
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
                let changed = in_import || line.contains("import(") || line.contains("import.meta.url");
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
    let BuiltPage { files: built, version, .. } = build(public()).unwrap();
    let preloads = |page: &str| -> Vec<String> {
        let html = text(&built, page);
        let lines =
            html.lines().filter_map(|line| line.strip_prefix("<link rel=\"modulepreload\" href=\"/v-"));
        lines.map(|line| line.trim_end_matches("\">").trim_start_matches(&version).to_owned()).collect()
    };
    assert_eq!(preloads("/index.html"), [""; 0], "its scripts import no other file");
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
        // /a.js\nconst { one: uno } = $0;\n\n\nuno(await import('./late.js'));\n";
    assert_eq!(text(&built, "/a.js"), joined);
    assert_eq!(text(&built, "/late.js"), "\nexport const x = 1;\n");
    assert!(!built.contains_key("/b.js"));
}

#[test]
fn script_imported_by_a_script_stays_a_module_and_is_preloaded() {
    let scripts =
        [("a", "import { x } from './late.js';\nimport('./late.js');\n"), ("late", "export const x = 1;\n")];
    let built = built(&scripts).unwrap();
    assert!(text(&built, "/a.js").starts_with("import * as $1 from './late.js';\n"));
    let html = text(&built, "/index.html");
    let (first, second) = html.split_once('\n').unwrap();
    assert!(first.starts_with("<link rel=\"modulepreload\" href=\"/v-") && first.ends_with("/late.js\">"));
    assert!(second.starts_with("<script"));
}

#[test]
fn module_of_two_files_is_in_the_one_that_the_other_finds_loaded() {
    let scripts = [
        (
            "a",
            "import { x } from './first.js';\nimport { b } from './b.js';\nimport { c } from './c.js';\nimport('./late.js');\n",
        ),
        ("b", "export const b = 1;\n"),
        ("c", "export const c = 1;\n"),
        ("first", "import { b } from './b.js';\nexport const x = b;\n"),
        ("late", "import { b } from './b.js';\nimport { c } from './c.js';\nimport('./later.js');\n"),
        ("later", "import { c } from './c.js';\n"),
    ];
    let html = "<!-- modulepreload -->\n<script type=\"module\" src=\"/first.js\"></script><script type=\"module\" src=\"/a.js\"></script>";
    let page = [("/index.html".to_owned(), html.as_bytes().to_vec())];
    let scripts = scripts
        .iter()
        .map(|(path, script)| (format!("/{path}.js"), format!("// {path}\n{script}").into_bytes()));
    let built = build(page.into_iter().chain(scripts).collect()).unwrap().files;
    assert!(text(&built, "/first.js").starts_with("export { $0 };\nconst $0 = (() => { // /b.js\n"));
    let imports = "import * as $2 from './first.js';\nimport { $0 as $3 } from './first.js';\nexport { $0 };\nconst $0 = (() => { // /c.js\n";
    assert!(text(&built, "/a.js").starts_with(imports), "{}", text(&built, "/a.js"));
    let imports = "import { $0 as $1 } from './first.js';\nimport { $0 as $2 } from './a.js';\n";
    assert!(text(&built, "/late.js").starts_with(imports), "{}", text(&built, "/late.js"));
    assert!(text(&built, "/later.js").starts_with("import { $0 as $1 } from './a.js';\n"));
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
        ("a", "import('./late.js');\nimport('./other.js');\n"),
        ("late", "import { b } from './b.js';\n"),
        ("other", "import { b } from './b.js';\n"),
        ("b", "export const b = 1;\n"),
    ];
    fails(&shared, "/b.js would be in /late.js and in /other.js");
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
    let built = build(files).unwrap().files;
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
    let BuiltPage { files: built, version, .. } = build(source.clone()).unwrap();
    for manifest in ["/manifest.zh.webmanifest", "/manifest.zh-Hant.webmanifest"] {
        assert_eq!(text(&built, manifest), text(&source, manifest));
    }
    for page in ["/index.html", "/test.html"] {
        let without = |html: String| {
            let lines = html
                .lines()
                .filter(|line| !["modulepreload", "words"].iter().any(|word| line.contains(word)));
            lines.map(|line| line.replace(&format!("/v-{version}"), "")).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(without(text(&built, page)), without(text(&source, page)), "{page}");
    }
}

#[test]
fn every_file_that_a_page_links_has_the_version_of_all_files() {
    let BuiltPage { files, version, .. } = build(public()).unwrap();
    assert!(version.len() == 12 && version.bytes().all(|digit| digit.is_ascii_hexdigit()), "{version}");
    let html = text(&files, "/index.zh.html");
    for linked in ["icon.svg", "icon-180.png", "manifest.zh.webmanifest", "assets/style.css", "app/main.js"] {
        assert!(html.contains(&format!("=\"/v-{version}/{linked}\"")), "{linked}");
    }
    assert!(html.contains(" href=\"/test\""), "a page keeps its address");
    let with_space = |path: &str| {
        let mut files = public();
        files.get_mut(path).unwrap().push(b'\n');
        build(files).unwrap().version
    };
    let versions = ["/icon.svg", "/index.html", "/app/main.js", "/locales/zh.js"].map(with_space);
    assert_eq!(versions.iter().chain([&version]).collect::<BTreeSet<_>>().len(), 5);
    assert_eq!(build(public()).unwrap().version, version);
}

#[test]
fn scripts_find_each_other_and_their_files_below_any_path() {
    let html = b"<!-- modulepreload -->\n<script type=\"module\" src=\"/app/a.js\"></script>".to_vec();
    let script = |path: &str, text: &str| (path.to_owned(), format!("// {path}\n{text}").into_bytes());
    let files = [
        ("/index.html".to_owned(), html),
        script(
            "/app/a.js",
            "import { icon } from '../ui/deep/b.js';\nimport('../late.js');\nicon();\nimport.meta.url;\n",
        ),
        script(
            "/ui/deep/b.js",
            "export const icon = () => new URL('../../icon.svg', import.meta.url);\nimport('../c.js');\n",
        ),
        script("/ui/c.js", "export const c = 1;\n"),
        script("/late.js", "import { c } from './ui/c.js';\n"),
    ];
    let built = build(files.into_iter().collect()).unwrap().files;
    let joined = text(&built, "/app/a.js");
    assert!(
        joined.contains("new URL('../../icon.svg', new URL('../ui/deep/b.js', import.meta.url));"),
        "{joined}"
    );
    assert!(joined.contains("import('../late.js');") && joined.contains("import('../ui/c.js');"), "{joined}");
    assert!(joined.ends_with("icon();\nimport.meta.url;\n"), "{joined}");
    assert!(text(&built, "/late.js").starts_with("import * as $1 from './ui/c.js';\n"));
}

#[test]
fn each_page_is_built_in_each_language_with_its_words() {
    let mut source = public();
    let words = text(&source, "/locales/zh.js").replace("'重试'", "'</script> \"\\\\\" \\'重试\\''");
    assert_ne!(words, text(&source, "/locales/zh.js"));
    source.insert("/locales/zh.js".to_owned(), words.into_bytes());
    let BuiltPage { files, languages, .. } = build(source).unwrap();
    let codes: Vec<&str> = languages.iter().map(|language| &*language.code).collect();
    assert_eq!(codes, ["en", "zh", "zh-Hant"]);
    assert_eq!(languages[2].also, ["zh-tw", "zh-hk", "zh-mo"]);
    for (page, tag, title) in [
        ("/index.html", "en", "Video call"),
        ("/index.zh.html", "zh-CN", "视频通话"),
        ("/index.zh-Hant.html", "zh-Hant", "視訊通話"),
        ("/test.html", "en", "Connection test"),
        ("/test.zh.html", "zh-CN", "测试通话"),
    ] {
        let html = text(&files, page);
        assert!(html.starts_with(&format!("<!doctype html>\n<html lang=\"{tag}\">")), "{page}");
        assert!(html.contains(&format!("<title>{title}</title>")), "{page}");
        let (_, block) =
            html.split_once("<script type=\"application/json\" id=\"words\" data-language=\"").unwrap();
        let (code, block) = block.split_once("\">").unwrap();
        let (json, rest) = block.split_once("</script>\n").unwrap();
        assert!(rest.contains("<script type=\"module\""), "the words come before the scripts");
        let words: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).unwrap();
        let module = text(&files, &format!("/locales/{code}.js"));
        assert_eq!(words.len(), module.lines().filter(|line| line.starts_with('\'')).count(), "{page}");
        let expected =
            if code == "zh" { "</script> \"\\\" '重试'" } else { words["error.retry"].as_str().unwrap() };
        assert_eq!(words["error.retry"], expected, "{page}");
    }
}

#[test]
fn words_that_are_not_one_sentence_per_line_fail_the_build() {
    let source = public();
    for (from, to) in [
        ("'Try again',", "'Try ' +\n    'again',"),
        ("'Try again',", "\"Try again\","),
        ("'Try again',", "'Try again' + more,"),
        ("'Try again',", "'Try \\u0061gain',"),
        ("'Try again',", "'Try' again',"),
        ("\n};", ""),
    ] {
        let words = text(&source, "/locales/en.js").replace(from, to);
        let mut files = source.clone();
        files.insert("/locales/en.js".to_owned(), words.into_bytes());
        let error = build(files).unwrap_err();
        assert!(error.starts_with("public/locales/en.js"), "{to}: {error}");
    }
}
