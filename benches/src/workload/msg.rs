use anyhow::Context;
use bytes::{Buf, BufMut};
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

/// The id of the message that ends a run.
const END: u64 = u64::MAX;

/// A message: its number, and as many bytes as the run asks for.
#[derive(Serialize, Deserialize)]
pub struct Msg {
    /// Its number. The first one is 0.
    pub id: u64,
    /// What it carries.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

impl Msg {
    /// Ends a run.
    pub(crate) fn end() -> Self {
        Self { id: END, body: Vec::new() }
    }

    pub(crate) fn is_end(&self) -> bool {
        self.id == END
    }

    /// Appends its bytes, for those who carry bytes.
    ///
    /// # Errors
    ///
    /// None that a message could cause.
    #[inline]
    pub fn write(&self, out: &mut impl BufMut) -> anyhow::Result<()> {
        postcard::serialize_with_flavor(self, Into(out)).context("encode")
    }

    /// Its bytes alone.
    ///
    /// # Errors
    ///
    /// None that a message could cause.
    pub fn encode(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.body.len() + 16);
        self.write(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads what [`encode`](Self::encode) has written.
    ///
    /// # Errors
    ///
    /// These are the bytes of something else.
    #[inline]
    pub fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        postcard::from_bytes(bytes).context("decode")
    }

    /// Appends its length and its bytes, for those who carry a stream of bytes.
    ///
    /// # Errors
    ///
    /// None that a message could cause.
    #[inline]
    pub fn put(&self, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        self.write(out)?;
        let len = (out.len() - at - 4) as u32;
        out[at..at + 4].copy_from_slice(&len.to_le_bytes());
        Ok(())
    }

    /// Takes what [`put`](Self::put) has written off the front, if the whole of it is there.
    ///
    /// # Errors
    ///
    /// These are the bytes of something else.
    #[inline]
    pub fn take(from: &mut impl Buf) -> anyhow::Result<Option<Self>> {
        let bytes = from.chunk();
        let Some(len) = bytes.first_chunk().map(|len| u32::from_le_bytes(*len) as usize) else {
            return Ok(None);
        };
        let Some(body) = bytes.get(4..4 + len) else { return Ok(None) };
        let message = Self::decode(body)?;
        from.advance(4 + len);
        Ok(Some(message))
    }
}

/// Writes where it is to be sent from.
struct Into<'a, B>(&'a mut B);

impl<B: BufMut> Flavor for Into<'_, B> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.put_u8(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.put_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
