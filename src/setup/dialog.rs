//! Questions on a terminal, or on any input and output in tests.

use std::io::{self, BufRead, Write};

use super::SetupError;
use crate::config::SettingsError;
use crate::error::Hint as _;

/// Where questions are asked and answers are read.
pub struct Dialog<'a> {
    input: &'a mut dyn BufRead,
    output: &'a mut dyn Write,
}

impl<'a> Dialog<'a> {
    /// Asks on `output` and reads lines from `input`.
    pub fn new(input: &'a mut dyn BufRead, output: &'a mut dyn Write) -> Self {
        Self { input, output }
    }

    pub(super) fn say(&mut self, text: &str) -> Result<(), SetupError> {
        let written = self.output.write_all(text.as_bytes()).and_then(|()| self.output.flush());
        written.map_err(SetupError::Terminal)
    }

    /// Asks until `valid` accepts the answer; an empty answer is the default. A `default` that is empty is none.
    pub(super) fn ask_valid<T>(
        &mut self,
        question: &str,
        default: &str,
        valid: impl Fn(&str) -> Result<T, SettingsError>,
    ) -> Result<T, SetupError> {
        let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
        loop {
            let answer = self.ask(&format!("{question}{shown}: "))?;
            let answer = if answer.is_empty() { default } else { &answer };
            if answer.is_empty() {
                continue;
            }
            match valid(answer) {
                Ok(value) => return Ok(value),
                Err(error) => self.say(&format!("   {}\n", error.with_hint()))?,
            }
        }
    }

    pub(super) fn confirm(&mut self, question: &str, default: bool) -> Result<bool, SetupError> {
        let shown = if default { "Y/n" } else { "y/N" };
        loop {
            let answer = self.ask(&format!("{question} [{shown}]: "))?;
            match answer.to_ascii_lowercase().as_str() {
                "" => return Ok(default),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => self.say("   Answer y or n.\n")?,
            }
        }
    }

    fn ask(&mut self, prompt: &str) -> Result<String, SetupError> {
        self.say(prompt)?;
        let mut line = String::new();
        match self.input.read_line(&mut line) {
            Ok(0) => Err(SetupError::Ended),
            Ok(_) => Ok(line.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(String::new()),
            Err(error) => Err(SetupError::Terminal(error)),
        }
    }
}
