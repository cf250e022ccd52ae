//! The model's structs as they stand in rows.

use anyhow::Context as _;
use rusqlite::Row;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreError;

/// Level at which documents are packed: they are written once and read seldom, but somebody waits for both.
const LEVEL: i32 = 3;

/// Writes a document.
pub(super) fn write<T: Serialize>(value: &T) -> Result<String, StoreError> {
    Ok(serde_json::to_string(value).context("cannot write a document")?)
}

/// Reads a document.
pub(super) fn read<T: DeserializeOwned>(doc: &str) -> Result<T, StoreError> {
    Ok(serde_json::from_str(doc).context("cannot read a document")?)
}

/// Reads the document in a column, where it lies.
pub(super) fn column<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<Result<T, StoreError>> {
    Ok(read(row.get_ref(index)?.as_str()?))
}

/// Writes a document that may be large, compressed, and gives the value back. It happens on a thread that may block, never
/// on the writer's.
pub(super) async fn pack<T: Serialize + Send + 'static>(value: T) -> Result<(T, Vec<u8>), StoreError> {
    let pack = move || -> anyhow::Result<(T, Vec<u8>)> {
        let packed = zstd::bulk::compress(&serde_json::to_vec(&value)?, LEVEL)?;
        Ok((value, packed))
    };
    Ok(tokio::task::spawn_blocking(pack).await.map_err(anyhow::Error::from)?.context("cannot pack a document")?)
}

/// Reads what [`pack`] has written.
pub(super) fn unpack<T: DeserializeOwned>(packed: &[u8]) -> Result<T, StoreError> {
    let json = zstd::stream::decode_all(packed).context("cannot unpack a document")?;
    Ok(serde_json::from_slice(&json).context("cannot read a packed document")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_packed_comes_back() {
        let (value, packed) = pack(vec!["a".repeat(100_000)]).await.unwrap();

        assert!(packed.len() < 1000);
        assert_eq!(unpack::<Vec<String>>(&packed).unwrap(), value);
        assert!(unpack::<Vec<String>>(b"not packed").is_err());
    }
}
