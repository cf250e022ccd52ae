//! Files that are written together with a transaction.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Arc;

use rustix::io::Errno;

use super::tx::FileWrite;

/// Pieces that the system takes at a time (`IOV_MAX` of Linux).
const MAX_PIECES: usize = 1024;

/// Writes all of it and, if `durable`, has it on disk when this returns. What lies side by side is written at once: that is
/// faster, and so is reading it, since the system keeps it in larger pieces.
pub(super) fn write(writes: &[FileWrite], durable: bool) -> io::Result<()> {
    let mut files: Vec<&Arc<File>> = Vec::new();
    for run in writes.chunk_by(is_followed_by) {
        let [first, ..] = run else { continue };
        write_run(&first.file, first.at, &mut run.iter().map(|write| IoSlice::new(&write.bytes)).collect::<Vec<_>>())?;
        if !files.iter().any(|known| Arc::ptr_eq(known, &first.file)) {
            files.push(&first.file);
        }
    }
    files.iter().filter(|_| durable).try_for_each(|file| file.sync_data())
}

fn is_followed_by(write: &FileWrite, next: &FileWrite) -> bool {
    Arc::ptr_eq(&write.file, &next.file) && write.at + write.bytes.len() as u64 == next.at
}

fn write_run(file: &File, mut at: u64, mut pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !pieces.is_empty() {
        match rustix::io::pwritev(file, &pieces[..pieces.len().min(MAX_PIECES)], at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut pieces, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn every_piece_is_where_it_belongs() {
        let [one, other] = [(), ()].map(|()| Arc::new(tempfile::tempfile().unwrap()));
        let piece = |number: usize| Bytes::from(format!("{number},").repeat(number % 5));
        let (mut writes, mut expected) = (Vec::new(), String::new());
        for number in 0..3 * MAX_PIECES {
            let (at, bytes) = (expected.len() as u64, piece(number));
            expected.push_str(std::str::from_utf8(&bytes).unwrap());
            writes.push(FileWrite { file: one.clone(), at, bytes });
            if number % 1500 == 7 {
                writes.push(FileWrite { file: other.clone(), at: number as u64, bytes: piece(3) });
            }
        }

        write(&writes, true).unwrap();

        let read = |mut file: &File| {
            let mut content = String::new();
            file.read_to_string(&mut content).unwrap();
            content
        };
        assert!(read(&one) == expected);
        let other = read(&other);
        assert_eq!(other.len(), 3007 + "3,3,3,".len());
        assert_eq!(other.replace('\0', ""), "3,3,3,".repeat(3));
    }
}
