//! Joins the ES modules that a page loads together into one file, which compresses better than many small ones.
//!
//! Each module becomes a function that returns its exports, in the order in which a browser would run them:
//! `const $3 = (() => { // /ui/graph.js` to `return { pointsOf }; })();`, and an import becomes a destructuring. Only
//! a script that a page names, or that is imported when needed, stays a module of its own and may use `await`.
//!
//! A module that several files need is in one of them: the one that the others import, or that loads them when it needs
//! them. That file exports it by its number, as in `export { $3 };`.
//!
//! Every line of a module stays a line. Line N of `/ui/graph.js` is line N of the part whose first line ends in
//! `// /ui/graph.js`, so an error that names a line of the joined file can be found again (docs/development.md).
//!
//! What this cannot translate is an error of the build: imports other than `import { a, b as c } from './x.js';`, exports
//! that change or are not declared where they are exported, and modules that import each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::page::strip;

/// The modules of all pages, and which of them get a file.
pub(crate) struct Bundle {
    modules: BTreeMap<String, Module>,
    /// Modules that are a file of their own, and so may be shared and imported late.
    entries: BTreeSet<String>,
}

struct Module {
    imports: Vec<Import>,
    /// Modules that it imports when it needs them.
    late: Vec<String>,
    /// Names declared by `export`, by the line of the declaration.
    exports: BTreeMap<usize, String>,
    /// The stripped source, each late import with an absolute path.
    lines: Vec<String>,
}

struct Import {
    line: usize,
    from: String,
    /// The text between the braces, without line breaks.
    names: String,
}

impl Bundle {
    /// Reads the modules that `pages` reach.
    pub(crate) fn new(
        scripts: &BTreeMap<String, String>,
        pages: &BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let mut entries: BTreeSet<String> = pages.values().flat_map(|html| sources(html)).collect();
        let mut modules = BTreeMap::new();
        let mut open: Vec<String> = entries.iter().cloned().collect();
        while let Some(path) = open.pop() {
            if modules.contains_key(&path) {
                continue;
            }
            let source =
                scripts.get(&path).ok_or_else(|| format!("public{path} is missing, but a page needs it"))?;
            let module = Module::parse(&path, source)?;
            entries.extend(module.late.iter().cloned());
            open.extend(module.late.iter().chain(module.imports.iter().map(|import| &import.from)).cloned());
            modules.insert(path, module);
        }
        let bundle = Self { modules, entries };
        bundle.check_names()?;
        for (page, html) in pages {
            bundle.check_once(page, html)?;
        }
        Ok(bundle)
    }

    /// Whether the module at `path` is part of another file.
    pub(crate) fn joins(&self, path: &str) -> bool {
        self.modules.contains_key(path) && !self.entries.contains(path)
    }

    /// The files that the scripts of a page import, without the scripts themselves.
    pub(crate) fn preloads(&self, html: &str) -> Vec<&str> {
        let named: Vec<String> = sources(html).collect();
        let needed = self.files_of(html, false);
        needed.into_iter().filter(|&path| !named.iter().any(|name| name == path)).collect()
    }

    /// The joined files, by path.
    pub(crate) fn write(&self) -> Result<BTreeMap<String, String>, String> {
        self.entries.iter().map(|entry| Ok((entry.clone(), self.join(entry)?))).collect()
    }

    /// The files that a page loads; with `late`, also those that it may load later.
    fn files_of(&self, html: &str, late: bool) -> BTreeSet<&str> {
        let mut files = BTreeSet::new();
        let mut open: Vec<String> = sources(html).collect();
        let mut seen = BTreeSet::new();
        while let Some(path) = open.pop() {
            let Some(module) = self.modules.get(&path).filter(|_| seen.insert(path.clone())) else {
                continue;
            };
            open.extend(module.imports.iter().map(|import| import.from.clone()));
            open.extend(module.late.iter().filter(|_| late).cloned());
            files.extend(self.entries.get(&path).map(String::as_str));
        }
        files
    }

    /// A browser refuses a module whose import names nothing; a joined one would go on without it.
    fn check_names(&self) -> Result<(), String> {
        for (path, module) in &self.modules {
            for import in &module.imports {
                let exports = self.modules.get(&import.from).map(|other| &other.exports);
                let has =
                    |name: &str| exports.is_some_and(|exports| exports.values().any(|each| each == name));
                if let Some(name) = import.names().find(|name| !has(name)) {
                    return Err(format!(
                        "public{path}:{}: {} exports no {name}",
                        import.line + 1,
                        import.from
                    ));
                }
            }
        }
        Ok(())
    }

    /// A module in two files of one page would run twice, with two states: one of the files must load the other.
    fn check_once(&self, page: &str, html: &str) -> Result<(), String> {
        let mut owner: BTreeMap<&str, &str> = BTreeMap::new();
        for file in self.files_of(html, true) {
            for part in self.parts(file)? {
                if let Some(other) = owner.insert(part, file) {
                    return Err(format!(
                        "public{page}: {part} would be in {other} and in {file}, and run twice; let one of them load the other"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The modules of the file of `entry`, each after those that it imports, `entry` last.
    fn parts<'a>(&'a self, entry: &'a str) -> Result<Vec<&'a str>, String> {
        let shared = self.shared(entry)?;
        Ok(self.reachable(entry)?.into_iter().filter(|part| !shared.contains_key(part)).collect())
    }

    /// The modules that `entry` imports, directly or not, without other files; each after those that it imports.
    fn reachable<'a>(&'a self, entry: &'a str) -> Result<Vec<&'a str>, String> {
        let (mut parts, mut under_way) = (Vec::new(), Vec::new());
        self.visit(entry, &mut parts, &mut under_way)?;
        Ok(parts)
    }

    /// The modules that are there before `entry` runs, by the file that has them: one that it imports, or those that load
    /// it when they need it.
    fn shared<'a>(&'a self, entry: &'a str) -> Result<BTreeMap<&'a str, &'a str>, String> {
        self.shared_beside(entry, &mut Vec::new())
    }

    /// `under_way`: files whose modules are being asked for, and which are not there before themselves.
    fn shared_beside<'a>(
        &'a self,
        entry: &'a str,
        under_way: &mut Vec<&'a str>,
    ) -> Result<BTreeMap<&'a str, &'a str>, String> {
        under_way.push(entry);
        let mut shared = BTreeMap::new();
        for file in self.imported_files(entry)? {
            if !under_way.contains(&file) {
                shared.extend(self.there_after(file, under_way)?);
            }
        }
        let mut loaders = Vec::new();
        for loader in &self.entries {
            if !under_way.contains(&&**loader) && self.loads_late(loader, entry)? {
                loaders.push(self.there_after(loader, under_way)?);
            }
        }
        under_way.pop();
        if let Some((first, others)) = loaders.split_first() {
            let is_common =
                |part: &str, owner: &str| others.iter().all(|other| other.get(part) == Some(&owner));
            shared.extend(
                first
                    .iter()
                    .filter(|(part, owner)| is_common(part, owner))
                    .map(|(&part, &owner)| (part, owner)),
            );
        }
        Ok(shared)
    }

    /// The modules that are there once the file of `entry` runs.
    fn there_after<'a>(
        &'a self,
        entry: &'a str,
        under_way: &mut Vec<&'a str>,
    ) -> Result<BTreeMap<&'a str, &'a str>, String> {
        let mut there = self.shared_beside(entry, under_way)?;
        for part in self.reachable(entry)? {
            there.entry(part).or_insert(entry);
        }
        Ok(there)
    }

    /// The other files that the modules of `entry` import.
    fn imported_files<'a>(&'a self, entry: &'a str) -> Result<BTreeSet<&'a str>, String> {
        let reachable = self.reachable(entry)?;
        let imports = reachable.iter().filter_map(|&part| self.modules.get(part)).flat_map(|m| &m.imports);
        Ok(imports.map(|import| &*import.from).filter(|&from| self.entries.contains(from)).collect())
    }

    /// Whether a module of the file of `loader` imports `entry` when it needs it.
    fn loads_late(&self, loader: &str, entry: &str) -> Result<bool, String> {
        let reachable = self.reachable(loader)?;
        let mut late = reachable.iter().filter_map(|&part| self.modules.get(part)).flat_map(|m| &m.late);
        Ok(late.any(|path| path == entry))
    }

    fn visit<'a>(
        &'a self,
        path: &'a str,
        parts: &mut Vec<&'a str>,
        under_way: &mut Vec<&'a str>,
    ) -> Result<(), String> {
        if under_way.contains(&path) {
            return Err(format!(
                "public{path} imports itself by way of {}; break the circle",
                under_way.join(", ")
            ));
        }
        if parts.contains(&path) {
            return Ok(());
        }
        under_way.push(path);
        for import in self.modules.get(path).into_iter().flat_map(|module| &module.imports) {
            if !self.entries.contains(&import.from) {
                self.visit(&import.from, parts, under_way)?;
            }
        }
        under_way.pop();
        parts.push(path);
        Ok(())
    }

    fn join(&self, entry: &str) -> Result<String, String> {
        let parts = self.parts(entry)?;
        let shared = self.shared(entry)?;
        let mut numbers = numbered(&parts);
        let mut joined = String::new();
        for import in
            parts.iter().filter_map(|&part| self.modules.get(part)).flat_map(|module| &module.imports)
        {
            let next = numbers.len();
            if numbers.contains_key(&*import.from) {
                continue;
            }
            numbers.insert(&import.from, next);
            let owner = shared.get(&*import.from).copied().filter(|&owner| owner != import.from);
            let path = relative(entry, owner.unwrap_or(&import.from));
            let name = match owner {
                None => format!("* as ${next}"),
                Some(owner) => {
                    let owned = numbered(&self.parts(owner)?).get(&*import.from).copied().unwrap_or_default();
                    format!("{{ ${owned} as ${next} }}")
                }
            };
            _ = writeln!(joined, "import {name} from '{path}';");
        }
        let exported = self.exported(entry, &parts)?;
        if !exported.is_empty() {
            let names: Vec<String> =
                exported.iter().filter_map(|part| Some(format!("${}", numbers.get(part)?))).collect();
            _ = writeln!(joined, "export {{ {} }};", names.join(", "));
        }
        for (number, &part) in parts.iter().enumerate() {
            let Some(module) = self.modules.get(part) else { continue };
            if part == entry {
                _ = writeln!(
                    joined,
                    "{}",
                    if parts.len() > 1 { format!("// {part}") } else { String::new() }
                );
                joined += &module.joined(entry, entry, &numbers);
                continue;
            }
            _ = writeln!(joined, "const ${number} = (() => {{ // {part}");
            joined += &module.joined(part, entry, &numbers);
            _ = writeln!(joined, "return {{ {} }}; }})();", self.used(part).join(", "));
        }
        Ok(joined)
    }

    /// Those of `parts`, the modules of the file of `entry`, that other files use.
    fn exported<'a>(&self, entry: &str, parts: &[&'a str]) -> Result<BTreeSet<&'a str>, String> {
        let mut exported = BTreeSet::new();
        for other in self.entries.iter().filter(|&other| other != entry) {
            let shared = self.shared(other)?;
            let others = self.parts(other)?;
            let imports = others.iter().filter_map(|&part| self.modules.get(part)).flat_map(|m| &m.imports);
            let from: BTreeSet<&str> = imports.map(|import| &*import.from).collect();
            let is_used = |part: &&&str| {
                **part != entry && from.contains(**part) && shared.get(**part).is_some_and(|&o| o == entry)
            };
            exported.extend(parts.iter().filter(is_used).copied());
        }
        Ok(exported)
    }

    /// The exports of `part` that another module imports.
    fn used<'a>(&'a self, part: &str) -> Vec<&'a str> {
        let imports = || self.modules.values().flat_map(|module| &module.imports);
        let wanted: BTreeSet<&str> =
            imports().filter(|import| import.from == part).flat_map(Import::names).collect();
        let module = self.modules.get(part);
        let exports = module.into_iter().flat_map(|module| module.exports.values());
        exports.map(String::as_str).filter(|name| wanted.contains(name)).collect()
    }
}

impl Module {
    fn parse(path: &str, source: &str) -> Result<Self, String> {
        let mut module =
            Self { imports: Vec::new(), late: Vec::new(), exports: BTreeMap::new(), lines: Vec::new() };
        if !source.starts_with("//") {
            return Err(format!(
                "public{path} must begin with a comment: its first line gets the name of the module"
            ));
        }
        // An import statement that has no end yet.
        let mut open: Option<Import> = None;
        for (line, (raw, stripped)) in source.lines().zip(strip(source).lines()).enumerate() {
            let at = |problem: &str| format!("public{path}:{}: {problem}: {raw}", line + 1);
            let mut text = stripped.to_owned();
            if open.is_some() || raw.starts_with("import ") {
                let mut import =
                    open.take().unwrap_or(Import { line, from: String::new(), names: String::new() });
                import.names = format!("{} {stripped}", import.names);
                text.clear();
                if stripped.ends_with(';') {
                    let (names, from) = import_parts(&import.names)
                        .ok_or_else(|| at("write it as `import { a, b as c } from './x.js';`"))?;
                    let names = names.to_owned();
                    module.imports.push(Import { from: resolve(path, from), names, ..import });
                } else {
                    open = Some(import);
                }
            } else if let Some(declaration) = raw.strip_prefix("export ") {
                let name = declared(declaration)
                    .ok_or_else(|| at("export a `const`, `function` or `class` where it is declared"))?;
                module.exports.insert(line, name.to_owned());
            }
            while let Some((before, from, after)) = late_import(&text) {
                let from = resolve(path, from);
                text = format!("{before}import('{from}'{after}");
                module.late.push(from);
            }
            module.lines.push(text);
        }
        Ok(module)
    }

    /// The lines from the second on, in the file of `entry`; the first is a comment, whose place the name of the module
    /// takes. Addresses stay relative, so the page works below any path.
    fn joined(&self, path: &str, entry: &str, numbers: &BTreeMap<&str, usize>) -> String {
        let imports: BTreeMap<usize, &Import> =
            self.imports.iter().map(|import| (import.line, import)).collect();
        let mut joined = String::new();
        for (line, text) in self.lines.iter().enumerate().skip(1) {
            if let Some(import) = imports.get(&line) {
                let number = numbers.get(&*import.from).copied().unwrap_or_default();
                let names = import.names.replace(" as ", ": ");
                _ = writeln!(joined, "const {{ {names} }} = ${number};");
            } else if self.exports.contains_key(&line) && path != entry {
                _ = writeln!(joined, "{}", text.trim_start_matches("export "));
            } else {
                _ = writeln!(joined, "{text}");
            }
        }
        for late in &self.late {
            joined =
                joined.replace(&format!("import('{late}'"), &format!("import('{}'", relative(entry, late)));
        }
        let own = relative(entry, path);
        if own.rsplit_once('/').map(|(folder, _)| folder) != Some(".") {
            joined = joined.replace("import.meta.url", &format!("new URL('{own}', import.meta.url)"));
        }
        joined
    }
}

impl Import {
    /// The names that it imports, as the other module has them.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.names.split(',').filter_map(|each| each.split_whitespace().next())
    }
}

/// The modules of a file by their number.
fn numbered<'a>(parts: &[&'a str]) -> BTreeMap<&'a str, usize> {
    parts.iter().enumerate().map(|(number, &part)| (part, number)).collect()
}

/// The scripts that a page names.
fn sources(html: &str) -> impl Iterator<Item = String> {
    let scripts = html.split("<script ").skip(1).filter_map(|rest| rest.split_once('>'));
    scripts.filter_map(|(tag, _)| Some(tag.split_once("src=\"")?.1.split_once('"')?.0.to_owned()))
}

/// The names and the path of an import statement.
fn import_parts(statement: &str) -> Option<(&str, &str)> {
    let (names, from) = statement.trim_start().strip_prefix("import { ")?.split_once(" } from '")?;
    Some((names.trim_end_matches(','), from.strip_suffix("';")?))
        .filter(|(names, from)| !names.contains('{') && from.starts_with('.'))
}

/// The first late import of a relative path, and the text around it. Those in comments are of types.
fn late_import(line: &str) -> Option<(&str, &str, &str)> {
    let mut starts = line.match_indices("import('.").map(|(start, _)| start);
    let in_code = |start: &usize| line[..*start].rfind("/*") <= line[..*start].rfind("*/");
    let start = starts.find(in_code)?;
    let (from, after) = line[start + "import('".len()..].split_once('\'')?;
    Some((&line[..start], from, after))
}

/// The name that a declaration declares.
fn declared(declaration: &str) -> Option<&str> {
    let kinds = ["async function ", "function ", "class ", "const "];
    let rest = kinds.iter().find_map(|kind| declaration.strip_prefix(kind))?;
    let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '$').next()?;
    Some(name).filter(|name| !name.is_empty())
}

/// The path `to` as `from` would import it.
fn relative(from: &str, to: &str) -> String {
    let folders = |path: &str| path.rsplit_once('/').map_or(0, |(folder, _)| folder.len() + 1);
    let (from_folder, to_folder) = (&from[..folders(from)], &to[..folders(to)]);
    let shared = from_folder.split_inclusive('/').zip(to_folder.split_inclusive('/'));
    let shared: usize = shared.take_while(|(one, other)| one == other).map(|(one, _)| one.len()).sum();
    let up = from_folder[shared..].matches('/').count();
    format!("{}{}", if up == 0 { "./".to_owned() } else { "../".repeat(up) }, &to[shared..])
}

/// The absolute path of `relative` as `/app/main.js` would import it.
fn resolve(importer: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = importer.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            "." => {}
            ".." => _ = parts.pop(),
            name => parts.push(name),
        }
    }
    parts.join("/")
}
