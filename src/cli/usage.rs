//! What is said of a command line that makes no sense, without repeating a secret in it.

use std::ffi::OsString;

use clap::error::{ContextKind, ErrorKind};

use super::NoDeed;

/// A word that is repeated in a complaint is no longer than this.
const LONGEST_WORD: usize = 40;

/// clap explains at length; the first line and its tip are enough. Both may repeat a word of the line, and
/// `--host-key my secret` or `--key "$(cat key.pem)"` makes such a word of a secret.
pub(super) fn no_deed(error: &clap::Error, has_secrets: bool) -> NoDeed {
    let text = error.to_string();
    if !error.use_stderr() {
        return NoDeed::Text(text);
    }
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let tip = text.lines().find_map(|line| line.trim_start().strip_prefix("tip: "));
    let similar = tip.filter(|tip| tip.contains("similar"));
    let words = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand];
    let repeats = matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand);
    let harmless = words.into_iter().filter_map(|kind| error.get(kind)).all(|word| {
        let word = word.to_string();
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
        word.len() <= LONGEST_WORD && word.bytes().all(letters) && (similar.is_some() || !has_secrets)
    });
    if repeats && !harmless {
        return NoDeed::Usage(
            "a word on the command line is neither a flag nor a command; put quotes around a value with \
             spaces, and write --FLAG=VALUE where it begins with a dash"
                .to_owned(),
        );
    }
    NoDeed::Usage(format!("{first}; {}", similar.unwrap_or("--help lists all flags")))
}

/// Whether a command line may hold a secret, in its place or beside it.
pub(super) fn has_secrets(line: &[OsString]) -> bool {
    let secret = ["--static-auth-secret", "--host-key", "--key", "--cert"];
    line.iter().any(|word| secret.iter().any(|flag| word.as_encoded_bytes().starts_with(flag.as_bytes())))
}
