//! Writes the files that a package needs besides the program: manual pages and shell completions. They have the texts of
//! `--help` and of `config/webrtc-box.toml`.
//!
//! ```sh
//! cargo run --example package-files -- target/package-files
//! ```

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use webrtc_box::cli;
use webrtc_box::config::DEFAULT_FILE;

/// Every setting with its default, and what it does.
const SETTINGS_FILE: &str = include_str!("../config/webrtc-box.toml");

/// Begins a setting that has no default.
const EXAMPLE: &str = "e.g. ";

const PROGRAM: &str = "webrtc-box";

fn main() -> io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1) else {
        return Err(io::Error::other("name the folder for the files"));
    };
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    fs::write(folder.join("webrtc-box.1"), program_page()?)?;
    fs::write(folder.join("webrtc-box.toml.5"), settings_page())?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        // A setting may follow the subcommand as well.
        let mut command = cli::command().mut_args(|arg| arg.global(true));
        clap_complete::generate_to(shell, &mut command, PROGRAM, folder)?;
    }
    Ok(())
}

/// `webrtc-box(1)`.
fn program_page() -> io::Result<String> {
    let command = cli::command().override_usage("webrtc-box [OPTIONS] [COMMAND]");
    let after_help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let settings = command.clone().disable_help_subcommand(true);
    let page = Man::new(settings);
    let mut text = title(PROGRAM, 1, "User Commands").into_bytes();
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    text.extend(description(&after_help).to_roff().into_bytes());
    text.extend(commands(&command)?);
    page.render_options_section(&mut text)?;
    text.extend(after_options().to_roff().into_bytes());
    String::from_utf8(text).map_err(io::Error::other)
}

fn description(after_help: &str) -> Roff {
    let mut page = Roff::new();
    section(&mut page, "DESCRIPTION");
    paragraph(
        &mut page,
        "Without a command, webrtc-box runs the server. Without settings it runs in try-out mode: on this machine, with a \
         self-signed certificate.",
    );
    paragraph(&mut page, &one_line(after_help));
    page
}

/// One subsection for each command, with its flags.
fn commands(command: &Command) -> io::Result<Vec<u8>> {
    let mut heading = Roff::new();
    section(&mut heading, "COMMANDS");
    let mut text = heading.to_roff().into_bytes();
    for subcommand in command.get_subcommands() {
        let mut page = Roff::new();
        page.control("SS", [subcommand.get_name()]);
        let about = subcommand.get_long_about().or_else(|| subcommand.get_about());
        let about = about.map(ToString::to_string).unwrap_or_default();
        for part in about.split("\n\n") {
            paragraph(&mut page, &sentence(&one_line(part)));
        }
        text.extend(page.to_roff().into_bytes());
        let mut options = Vec::new();
        let subcommand = subcommand.clone().disable_help_flag(true);
        Man::new(subcommand).render_options_section(&mut options)?;
        let options = String::from_utf8(options).map_err(io::Error::other)?;
        text.extend(options.replace(".SH OPTIONS\n", "").into_bytes());
    }
    Ok(text)
}

fn after_options() -> Roff {
    let mut page = Roff::new();
    section(&mut page, "SIGNALS");
    entry(&mut page, [bold("SIGTERM"), roman(", "), bold("SIGINT")]);
    page.text([roman(
        "Stop when the calls have ended, at the latest after drain-timeout. The second signal stops at once.",
    )]);
    entry(&mut page, [bold("SIGHUP")]);
    page.text([roman(
        "Read the settings and the certificate again. The log names the changes that need a restart.",
    )]);
    section(&mut page, "FILES");
    entry(&mut page, [italic(DEFAULT_FILE)]);
    page.text([roman("Settings; see "), bold("webrtc-box.toml"), roman("(5).")]);
    entry(&mut page, [italic("/var/lib/webrtc-box")]);
    page.text([roman("Secrets, keys and certificates of the service.")]);
    see_also(&mut page, "webrtc-box.toml", "(5)");
    page
}

/// `webrtc-box.toml(5)`.
fn settings_page() -> String {
    let mut page = Roff::new();
    section(&mut page, "NAME");
    page.text([roman("webrtc-box.toml - settings of webrtc-box")]);
    section(&mut page, "SYNOPSIS");
    page.text([italic(DEFAULT_FILE)]);
    section(&mut page, "DESCRIPTION");
    let mut blocks = SETTINGS_FILE.split("\n\n").map(Block::parse);
    // The first block explains the file with every default itself; the rest is about any settings file.
    let introduction = blocks.next().map(|block| block.text).unwrap_or_default();
    let rest = introduction.split_once("Each setting is").map_or("", |(_, rest)| rest);
    paragraph(&mut page, "A TOML file of settings. Lines that begin with \"#\" are comments.");
    paragraph(&mut page, &format!("Each setting is{rest}").replace("\"#e.g.\"", "\"example:\""));
    for block in blocks {
        block.write(&mut page);
    }
    see_also(&mut page, PROGRAM, "(1)");
    title("webrtc-box.toml", 5, "File Formats") + &page.to_roff()
}

/// What stands between two empty lines of the settings file.
#[derive(Default)]
struct Block {
    heading: Option<String>,
    /// The comment, as one line.
    text: String,
    settings: Vec<Setting>,
}

struct Setting {
    name: String,
    value: String,
    is_example: bool,
}

impl Block {
    fn parse(text: &str) -> Self {
        let mut block = Self::default();
        let mut comment = Vec::new();
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                block.heading = Some(heading.to_owned());
            } else if let Some(sentence) = line.strip_prefix("# ") {
                comment.push(sentence);
            } else if let Some(setting) = line.strip_prefix('#').and_then(Setting::parse) {
                block.settings.push(setting);
            }
        }
        block.text = comment.join(" ");
        block
    }

    fn write(&self, page: &mut Roff) {
        if let Some(heading) = &self.heading {
            section(page, &heading.to_uppercase());
        }
        for (index, setting) in self.settings.iter().enumerate() {
            page.control(if index == 0 { "TP" } else { "TQ" }, []);
            let example = if setting.is_example { "example: " } else { "" };
            page.text([bold(&setting.name), roman(format!("  {example}{}", setting.value))]);
        }
        if !self.text.is_empty() {
            page.text([roman(&self.text)]);
        }
    }
}

impl Setting {
    fn parse(line: &str) -> Option<Self> {
        let (is_example, line) = match line.strip_prefix(EXAMPLE) {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let (name, value) = line.split_once(" = ")?;
        Some(Self { name: name.to_owned(), value: value.to_owned(), is_example })
    }
}

/// Has no date, so that two builds of one version are equal. The crate would leave out the empty argument.
fn title(name: &str, number: u8, manual: &str) -> String {
    format!(".TH {name} {number} \"\" \"{PROGRAM} {}\" \"{manual}\"\n", env!("CARGO_PKG_VERSION"))
}

fn section(page: &mut Roff, heading: &str) {
    page.control("SH", [heading]);
}

fn paragraph(page: &mut Roff, text: &str) {
    page.control("PP", []);
    page.text([roman(text)]);
}

fn entry<const N: usize>(page: &mut Roff, tag: [Inline; N]) {
    page.control("TP", []);
    page.text(tag);
}

fn see_also(page: &mut Roff, name: &str, number: &str) {
    section(page, "SEE ALSO");
    page.text([bold(name), roman(number)]);
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// clap's short texts have no full stop.
fn sentence(text: &str) -> String {
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
mod tests {
    use std::process::Command;

    use webrtc_box::config::RawSettings;

    use super::*;

    #[test]
    fn each_page_has_every_setting() {
        let (program, settings) = (program_page().unwrap(), settings_page());
        for name in RawSettings::names() {
            let escaped = name.replace('-', "\\-");
            assert!(program.contains(&format!("\\fB\\-\\-{escaped}\\fR")), "{name} in webrtc-box.1");
            assert!(settings.contains(&format!("\n\\fB{escaped}\\fR  ")), "{name} in webrtc-box.toml.5");
        }
    }

    #[test]
    fn the_program_page_has_every_command_with_its_flags() {
        let page = program_page().unwrap();
        for command in cli::command().get_subcommands() {
            assert!(page.contains(&format!(".SS {}\n", command.get_name())), "{command}");
            for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(page.contains(&format!("\\-\\-{}\\fR", flag.replace('-', "\\-"))), "{flag}");
            }
        }
    }

    #[test]
    fn the_manual_pages_have_no_faults() {
        if Command::new("man").arg("--version").output().is_err() {
            println!("skipped: man is not installed");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in
            [("webrtc-box.1", program_page().unwrap()), ("webrtc-box.toml.5", settings_page())]
        {
            let file = folder.path().join(name);
            fs::write(&file, text).unwrap();
            let mut man = Command::new("man");
            man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8"]).arg(&file);
            let output = man.env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8").output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{name}: {output:?}");
            assert!(output.stdout.len() > 1000, "{name} is short: {output:?}");
        }
    }
}
