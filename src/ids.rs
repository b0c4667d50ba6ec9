//! Names of things: traces, keys, buckets, segments and places.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The wall clock now.
    pub fn now() -> UnixMillis {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixMillis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    /// The UTC day this moment falls on.
    pub fn date(self) -> Date {
        Date(self.0.div_euclid(86_400_000) as i32)
    }
}

/// RFC 3339 in UTC with exactly three fraction digits, so that times sort as text.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_day = self.0.rem_euclid(86_400_000);
        let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
        let mut text = *b"T00:00:00.000Z";
        put_digits(&mut text[1..3], hour);
        put_digits(&mut text[4..6], minute);
        put_digits(&mut text[7..9], second);
        put_digits(&mut text[10..13], of_day % 1000);
        self.date().fmt(f)?;
        f.write_str(ascii(&text))
    }
}

/// A time that is not RFC 3339.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an RFC 3339 time")]
pub struct NotATime;

/// Any RFC 3339 time with offset or `Z`; fractions finer than a millisecond are cut.
impl FromStr for UnixMillis {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<UnixMillis, NotATime> {
        text.parse::<jiff::Timestamp>().map(|it| UnixMillis(it.as_millisecond())).map_err(|_| NotATime)
    }
}

/// A UTC day, as days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub i32);

/// `YYYY-MM-DD`.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(i64::from(self.0));
        if !(0..=9999).contains(&year) {
            return write!(f, "{year:04}-{month:02}-{day:02}");
        }
        let mut text = *b"0000-00-00";
        put_digits(&mut text[..4], year);
        put_digits(&mut text[5..7], month);
        put_digits(&mut text[8..], day);
        f.write_str(ascii(&text))
    }
}

impl FromStr for Date {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Date, NotATime> {
        if text.len() != 10 {
            return Err(NotATime);
        }
        let date: jiff::civil::Date = text.parse().map_err(|_| NotATime)?;
        let since = date.since((jiff::Unit::Day, jiff::civil::date(1970, 1, 1))).map_err(|_| NotATime)?;
        Ok(Date(since.get_days()))
    }
}

/// Writes a number that is not negative in as many digits as there is room for. Every line and row holds several
/// times and hashes, and the machinery of `{:02}` costs ten times as much.
fn put_digits(room: &mut [u8], number: i64) {
    let mut rest = number;
    for digit in room.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Text that was put together from ASCII.
fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Gregorian year, month and day of a day number (the era arithmetic of the proleptic calendar:
/// 400 years are 146,097 days, and a year is taken to begin in March so that February ends it).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// A trace's identity: a ULID, 26 characters of Crockford base 32 as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(ulid::Ulid);

impl TraceId {
    /// Its 16 bytes, big-endian: they sort as the text does.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.0.to_be_bytes()
    }

    /// The moment it was made for, or one shortly after.
    pub fn moment(self) -> UnixMillis {
        UnixMillis((self.0.0 >> 80) as i64)
    }

    /// Another id of the same moment: always the same for one `salt`, and never this one.
    pub fn beside(self, salt: u64) -> TraceId {
        let low = self.0.0 as u64;
        let other = scramble(low ^ scramble(salt));
        let other = if other == low { !low } else { other };
        TraceId(ulid::Ulid(self.0.0 >> 64 << 64 | u128::from(other)))
    }

    /// From the bytes of [`TraceId::to_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> TraceId {
        TraceId(ulid::Ulid(u128::from_be_bytes(bytes)))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; ulid::ULID_LEN];
        f.write_str(self.0.array_to_str(&mut text))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not the canonical (upper-case, 26 characters) form of a ULID.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a trace id")]
pub struct NotATraceId;

impl FromStr for TraceId {
    type Err = NotATraceId;

    fn from_str(text: &str) -> Result<TraceId, NotATraceId> {
        let id = TraceId(ulid::Ulid::from_string(text).map_err(|_| NotATraceId)?);
        // The decoder takes lower case as well; ids are compared exactly.
        if id.to_string() == text { Ok(id) } else { Err(NotATraceId) }
    }
}

/// Makes trace ids that are unique and, within the process, strictly increasing. Takes no lock.
pub struct TraceIds {
    /// Milliseconds (48 bits) and a counter within them (16 bits) of the id given last.
    last: AtomicU64,
    seed: u64,
}

impl TraceIds {
    /// A generator whose random half starts from `seed`: give each process another one.
    pub fn new(seed: u64) -> TraceIds {
        TraceIds { last: AtomicU64::new(0), seed }
    }

    /// The high half (time and counter) of the id given last.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// All ids from here on are above those with this high half: what an earlier process gave.
    pub fn raise(&self, above: u64) {
        self.last.fetch_max(above, Ordering::Relaxed);
    }

    /// The id of a trace that begins `now`.
    pub fn next(&self, now: UnixMillis) -> TraceId {
        let floor = (now.0.max(0) as u64) << 16;
        let next = |last: u64| floor.max(last + 1);
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        let high = next(last.unwrap_or_else(|last| last));
        let low = scramble(high ^ self.seed);
        TraceId(ulid::Ulid((u128::from(high) << 64) | u128::from(low)))
    }
}

/// A bijection of 64-bit numbers without visible pattern (the finaliser of SplitMix64).
fn scramble(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The first 8 bytes of the SHA-256 of a credential; 16 hex digits as text. Never the credential itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KeyHash(pub [u8; 8]);

impl KeyHash {
    /// The hash of traffic without credentials.
    pub const NONE: KeyHash = KeyHash([0; 8]);

    /// The hash of a credential's whole value, scheme included.
    pub fn of(credential: &[u8]) -> KeyHash {
        KeyHash(short_sha256(credential))
    }

    /// Its first 8 hex digits, which name files and folders.
    pub fn short(self) -> ShortKey {
        let [a, b, c, d, ..] = self.0;
        ShortKey([a, b, c, d])
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(hex(&self.0, &mut [0; 16]))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyHash {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<KeyHash, NotHex> {
        parse_hex(text).map(KeyHash)
    }
}

/// The first 4 bytes of a [`KeyHash`]; 8 lower-case hex digits as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortKey(pub [u8; 4]);

impl fmt::Display for ShortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(hex(&self.0, &mut [0; 8]))
    }
}

impl fmt::Debug for ShortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ShortKey {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<ShortKey, NotHex> {
        parse_hex(text).map(ShortKey)
    }
}

/// A text that is not lower-case hex of the right length.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not lower-case hex of the right length")]
pub struct NotHex;

/// The lower-case hex digits of `bytes`, as far as there is room for them.
pub(crate) fn hex<'t>(bytes: &[u8], room: &'t mut [u8]) -> &'t str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in room.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    let length = room.len().min(2 * bytes.len());
    ascii(&room[..length])
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], NotHex> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(NotHex),
    };
    if text.len() != 2 * N {
        return Err(NotHex);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

/// The first 8 bytes of a SHA-256.
pub fn short_sha256(bytes: &[u8]) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    [a, b, c, d, e, f, g, h]
}

/// One UTC day (of writing) of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId {
    /// The UTC day on which the lines were written.
    pub date: Date,
    /// Whose lines they are.
    pub key: ShortKey,
}

/// `2026-05-27/a1b2c3d4`.
impl fmt::Display for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.date, self.key)
    }
}

/// One file of a bucket. Its text is the path of its plain form, relative to the data dir: that is
/// `jsonl_path` everywhere outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// The bucket it belongs to.
    pub bucket: BucketId,
    /// 0 for the first, whose name carries no number.
    pub number: u32,
}

/// `2026-05-27/a1b2c3d4.jsonl`, or `2026-05-27/a1b2c3d4.2.jsonl` for number 2.
impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => write!(f, "{}.jsonl", self.bucket),
            number => write!(f, "{}.{number}.jsonl", self.bucket),
        }
    }
}

/// A text that names no segment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not the name of a segment (<date>/<key8>[.<n>].jsonl)")]
pub struct NotASegment;

impl FromStr for SegmentId {
    type Err = NotASegment;

    fn from_str(text: &str) -> Result<SegmentId, NotASegment> {
        let (date, name) = text.split_once('/').ok_or(NotASegment)?;
        let stem = name.strip_suffix(".jsonl").ok_or(NotASegment)?;
        let (key, number) = stem.split_once('.').map_or((stem, None), |(key, number)| (key, Some(number)));
        let id = SegmentId {
            bucket: BucketId {
                date: date.parse().map_err(|_| NotASegment)?,
                key: key.parse().map_err(|_| NotASegment)?,
            },
            number: number.map_or(Ok(0), |it| it.parse().map_err(|_| NotASegment))?,
        };
        // Only the canonical spelling names it: no `.0`, no `.01`, no `+1`.
        if id.to_string() == text { Ok(id) } else { Err(NotASegment) }
    }
}

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, whatever form (plain or sealed) it is in.
    pub segment: SegmentId,
    /// Offset of the line's first byte in the uncompressed file.
    pub offset: u64,
    /// Length of the line without its newline, in bytes.
    pub bytes: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_three_digits_and_read_with_any_offset() {
        let time: UnixMillis = "2026-05-27T12:23:45.81+02:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-05-27T10:23:45.810Z");
        assert_eq!("2000-02-29T23:59:59Z".parse::<UnixMillis>().unwrap().to_string(), "2000-02-29T23:59:59.000Z");
        assert!("2026-05-27".parse::<UnixMillis>().is_err());
        assert!("yesterday".parse::<UnixMillis>().is_err());
    }

    #[test]
    fn dates_round_trip() {
        for days in [-1, 0, 59, 60, 11_016, 20_600, 24_855] {
            let date = Date(days);
            assert_eq!(date.to_string().parse::<Date>().unwrap(), date);
        }
        assert!("2026-5-27".parse::<Date>().is_err());
    }

    #[test]
    fn trace_ids_increase_even_within_a_millisecond_and_when_the_clock_steps_back() {
        let ids = TraceIds::new(7);
        let made: Vec<TraceId> =
            [5, 5, 5, 4, 6].into_iter().map(|ms| ids.next(UnixMillis(1_700_000_000_000 + ms))).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]), "{made:?}");
        let text = made[0].to_string();
        assert_eq!(text.len(), 26);
        assert_eq!(text.parse::<TraceId>().unwrap(), made[0]);
        assert!(text.to_lowercase().parse::<TraceId>().is_err());
        assert_eq!(TraceId::from_bytes(made[0].to_bytes()), made[0]);
    }

    #[test]
    fn a_key_hash_is_the_head_of_a_sha256() {
        assert_eq!(KeyHash::of(b"abc").to_string(), "ba7816bf8f01cfea");
        assert_eq!(KeyHash::of(b"abc").short().to_string(), "ba7816bf");
        assert_eq!(KeyHash::NONE.to_string(), "0000000000000000");
        assert!("BA7816BF".parse::<ShortKey>().is_err());
    }

    #[test]
    fn segments_have_one_spelling() {
        for text in ["2026-05-27/a1b2c3d4.jsonl", "2026-05-27/a1b2c3d4.2.jsonl"] {
            assert_eq!(text.parse::<SegmentId>().unwrap().to_string(), text);
        }
        for text in
            ["2026-05-27/a1b2c3d4.0.jsonl", "2026-05-27/a1b2c3d4.02.jsonl", "x/a1b2c3d4.jsonl", "a1b2c3d4.jsonl"]
        {
            assert_eq!(text.parse::<SegmentId>(), Err(NotASegment), "{text}");
        }
    }
}
