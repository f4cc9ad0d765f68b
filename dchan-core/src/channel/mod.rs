//! What a user holds.

mod decode;
mod error;
mod permit;
mod receipt;
mod receiver;
mod sender;

pub use error::{
    FlushError, OpenError, PermitError, ReceiptError, RecvError, SendError, SendTimeoutError,
    TryRecvError, TrySendError,
};
pub use permit::{OwnedPermit, Permit};
pub use receipt::Receipt;
pub(crate) use receiver::Settings;
pub use receiver::{Delivery, Receiver};
pub use sender::Sender;
