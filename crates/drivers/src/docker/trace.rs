//! What BuildKit tells of its work: messages in the encoding of Protocol Buffers, of which we read what a log shows.

use std::collections::HashSet;

/// Turns BuildKit's messages into the lines of a log.
#[derive(Debug, Default)]
pub(super) struct Trace {
    begun: HashSet<String>,
    done: HashSet<String>,
}

/// One step of a build.
#[derive(Debug, Default)]
struct Vertex {
    digest: String,
    name: String,
    is_cached: bool,
    is_started: bool,
    is_completed: bool,
    error: String,
}

impl Trace {
    /// Appends to `text` what a message (`StatusResponse`) adds to the log. A message that is none adds nothing.
    pub(super) fn push(&mut self, message: &[u8], text: &mut Vec<u8>) {
        let mut output = Vec::new();
        for (field, value) in Fields(message) {
            match (field, value) {
                (1, Value::Bytes(vertex)) => self.tell(&Vertex::read(vertex), text),
                (3, Value::Bytes(log)) => {
                    let part = Fields(log).find_map(|(field, value)| match value {
                        Value::Bytes(bytes) if field == 4 => Some(bytes),
                        _ => None,
                    });
                    output.extend_from_slice(part.unwrap_or_default());
                }
                _ => {}
            }
        }
        text.append(&mut output);
    }

    fn tell(&mut self, vertex: &Vertex, text: &mut Vec<u8>) {
        // What is internal is of interest only if it fails.
        let is_shown = !vertex.name.starts_with("[internal]") && !vertex.name.starts_with("copy /context");
        if is_shown && (vertex.is_started || vertex.is_cached) && self.begun.insert(vertex.digest.clone()) {
            let cached = if vertex.is_cached { " (cached)" } else { "" };
            text.extend_from_slice(format!("{}{cached}\n", vertex.name).as_bytes());
        }
        if vertex.is_completed && !vertex.error.is_empty() && self.done.insert(vertex.digest.clone()) {
            text.extend_from_slice(format!("{}: {}\n", vertex.name, vertex.error).as_bytes());
        }
    }
}

impl Vertex {
    fn read(message: &[u8]) -> Self {
        let mut vertex = Self::default();
        let string = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for (field, value) in Fields(message) {
            match (field, value) {
                (1, Value::Bytes(digest)) => vertex.digest = string(digest),
                (3, Value::Bytes(name)) => vertex.name = string(name),
                (4, Value::Number(cached)) => vertex.is_cached = cached != 0,
                (5, Value::Bytes(_)) => vertex.is_started = true,
                (6, Value::Bytes(_)) => vertex.is_completed = true,
                (7, Value::Bytes(error)) => vertex.error = string(error),
                _ => {}
            }
        }
        vertex
    }
}

/// The fields of a message; what is broken ends them.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.number()?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => self.bytes(8).map(|_| Value::Other)?,
            2 => {
                let len = usize::try_from(self.number()?).ok()?;
                Value::Bytes(self.bytes(len)?)
            }
            5 => self.bytes(4).map(|_| Value::Other)?,
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

impl<'a> Fields<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes(1)?.first()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        field.extend_from_slice(bytes);
        field
    }

    #[test]
    fn steps_are_told_once_with_their_output_and_their_error() {
        let begun = [field(1, b"sha256:a"), field(3, b"[2/3] RUN make"), field(5, b"")].concat();
        let failed = [begun.clone(), field(6, b""), field(7, b"exit code: 2")].concat();
        let internal =
            [field(1, b"sha256:b"), field(3, b"[internal] load remote build context"), field(5, b"")].concat();
        let cached = [field(1, b"sha256:c"), field(3, b"[1/3] FROM x"), vec![4 << 3, 1]].concat();
        let log = [field(1, b"sha256:a"), field(4, b"hello\n")].concat();
        let mut trace = Trace::default();
        let mut text = Vec::new();

        trace.push(&[field(1, &cached), field(1, &internal)].concat(), &mut text);
        trace.push(&field(1, &begun), &mut text);
        trace.push(&[field(1, &begun), field(3, &log)].concat(), &mut text);
        trace.push(&field(1, &failed), &mut text);

        let expected = "[1/3] FROM x (cached)\n[2/3] RUN make\nhello\n[2/3] RUN make: exit code: 2\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn a_message_of_a_real_engine_is_read() {
        let message = "Cn0KR3NoYTI1Njo0YWY2ZDU2NWUxNTFlMzdiMmU1NmVhNTkyMzliZGMzNTRhY2MxNWU2MmUxMWViYTBkYzY3NTI2Zjc1MTY4ZTA4GiRbaW50ZXJuYWxdIGxvYWQgcmVtb3RlIGJ1aWxkIGNvbnRleHQqDAjSrLHYBhCO/4TGAg==";
        let message = STANDARD.decode(message).unwrap();
        let vertices: Vec<Vertex> = Fields(&message)
            .filter_map(|(_, value)| match value {
                Value::Bytes(bytes) => Some(Vertex::read(bytes)),
                _ => None,
            })
            .collect();

        assert_eq!(vertices.len(), 1);
        assert_eq!(vertices[0].name, "[internal] load remote build context");
        assert!(vertices[0].is_started && !vertices[0].is_completed);
    }

    #[test]
    fn what_is_broken_is_let_be() {
        for message in [&[0xff; 12][..], &[0x0a, 0xff], &[0x0f], b"\x0a\x03ab"] {
            let mut text = Vec::new();
            Trace::default().push(message, &mut text);
            assert!(text.is_empty());
        }
    }
}
