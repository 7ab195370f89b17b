//! `motet-tidy [FOLDER]`: checks the repository and prints what to mend, one finding a line.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    match motet_tidy::check_repository(&root) {
        Ok((files, findings)) if findings.is_empty() => {
            println!("tidy: {files} files, nothing to mend");
            ExitCode::SUCCESS
        }
        Ok((files, findings)) => {
            for finding in &findings {
                println!("{finding}");
            }
            eprintln!("tidy: {files} files, {} to mend", findings.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("tidy: cannot read {}: {error}", root.display());
            ExitCode::from(2)
        }
    }
}
