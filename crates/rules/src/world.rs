//! The clock and the dice, which belong to the caller.

use std::time::SystemTime;

/// What rules ask of the world around them.
pub trait World: Sync {
    /// The time.
    fn now(&self) -> SystemTime;

    /// Bytes that nobody can foresee.
    fn random(&self) -> [u8; 16];
}

/// A number from 0 up to 1, without it.
pub(crate) fn fraction(bits: u64) -> f64 {
    // The 53 bits of a fraction: every value has the same chance.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit into an f64")]
    let fraction = (bits >> 11) as f64 / (1_u64 << 53) as f64;
    fraction
}

/// Eight of the random bytes as a number.
pub(crate) fn random_bits(world: &dyn World) -> u64 {
    let bits = u128::from_le_bytes(world.random());
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is as random as the whole")]
    let half = bits as u64;
    half
}
