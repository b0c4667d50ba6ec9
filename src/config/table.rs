//! The form of the table of keys: what a row says, and the macro that makes types and reading of it.

use super::sources::Raw;

/// One configuration key, as far as it can be told without its value.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted path, for example `proxy.listen`.
    pub path: &'static str,
    /// What kind of value it takes, for example "a size".
    pub kind: &'static str,
    /// Whether it takes a list; in an environment variable the items stand between commas.
    pub is_list: bool,
    /// Whether it takes a list whose items have members; in an environment variable it is JSON.
    pub has_items: bool,
    /// The default, written as in an environment variable.
    pub default: &'static str,
    /// What it is for, in sentences.
    pub doc: &'static [&'static str],
    pub(super) choices: fn(Rules) -> String,
    pub(super) schema: fn(Rules) -> serde_json::Value,
    /// The row's rules.
    pub rules: Rules,
}

impl Key {
    /// Every path under which the key may be given: its own first, then the one that ends in `_seconds`.
    pub fn spellings(&self) -> impl Iterator<Item = String> {
        let seconds = self.rules.seconds.then(|| format!("{}_seconds", self.path));
        std::iter::once(self.path.to_owned()).chain(seconds)
    }

    /// What a value may be, for people.
    pub fn allowed(&self) -> String {
        (self.choices)(self.rules)
    }

    /// The environment variable of its own path.
    pub fn variable(&self) -> String {
        variable_of(self.path)
    }

    /// The key's documentation as one text, without line breaks.
    pub fn documentation(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// A value given as the text of a variable (or of the default).
    pub(super) fn raw(&self, text: &str) -> Raw {
        if self.has_items {
            return match serde_json::from_str::<Vec<serde_json::Value>>(text) {
                Ok(items) => Raw::Items(items.into_iter().map(|it| (it, None)).collect()),
                Err(_) => Raw::One { text: text.to_owned(), quoted: true },
            };
        }
        if self.is_list {
            let items = text.split(',').map(str::trim).filter(|it| !it.is_empty());
            Raw::Many(items.map(|it| (it.to_owned(), None)).collect())
        } else {
            Raw::One { text: text.to_owned(), quoted: false }
        }
    }
}

/// The environment variable that stands for a path.
pub(super) fn variable_of(path: &str) -> String {
    format!("APILOG_{}", path.replace('.', "_").to_ascii_uppercase())
}

/// What else a row says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Smallest and largest value: bytes for sizes, milliseconds for durations.
    pub range: (i64, i64),
    /// Whether the key may also be spelled with `_seconds` at its end.
    pub seconds: bool,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// Whether a change is taken over while the program runs.
    pub reloadable: bool,
}

/// A key whose value differs between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key's path.
    pub key: &'static str,
    /// Its value, as it is shown: secrets are hidden.
    pub from: String,
    /// Its other value.
    pub to: String,
    /// Whether the change can be taken over while the program runs.
    pub reloadable: bool,
}

/// No rule beyond what the kind demands.
pub(super) const ANY: Rules = Rules { range: (i64::MIN, i64::MAX), seconds: false, secret: false, reloadable: false };

impl Rules {
    pub(super) const fn range(self, least: i64, most: i64) -> Rules {
        Rules { range: (least, most), ..self }
    }

    pub(super) const fn seconds(self) -> Rules {
        Rules { seconds: true, ..self }
    }

    pub(super) const fn secret(self) -> Rules {
        Rules { secret: true, ..self }
    }

    pub(super) const fn reloadable(self) -> Rules {
        Rules { reloadable: true, ..self }
    }

    pub(super) fn holds(&self, value: i64) -> bool {
        (self.range.0..=self.range.1).contains(&value)
    }
}

/// Makes of the table: one struct per section, [`Config`](super::Config), [`keys`](super::keys()), and the reading and
/// showing of all values. A row reads `field: Type as Kind = "default", RULES;`, with `at "path"` before the `=` if the
/// path is not `section.field`.
macro_rules! configuration {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Section:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty as $kind:ty $(, at $path:literal)? = $default:literal, $rules:expr;
            )+
        }
    )+) => {
        /// What the program shall do: every key's value, checked.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[doc = $section_doc])+ pub $section: $Section,)+
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section {
                $($(#[doc = $doc])+ pub $field: $type,)+
            }
        )+

        /// Every key there is, section by section.
        pub fn keys() -> &'static [Key] {
            static KEYS: &[Key] = &[$($(
                Key {
                    path: configuration!(@path $section $field $($path)?),
                    kind: <$kind as Kind>::NAME,
                    is_list: <$kind as Kind>::IS_LIST,
                    has_items: <$kind as Kind>::HAS_ITEMS,
                    default: $default,
                    doc: &[$($doc),+],
                    choices: <$kind as Kind>::allowed,
                    schema: <$kind as Kind>::schema,
                    rules: $rules,
                },
            )+)+];
            KEYS
        }

        /// The sections of the file and what each is about.
        pub(super) const SECTIONS: &[(&str, &[&str])] = &[$((stringify!($section), &[$($section_doc),+])),+];

        impl Config {
            /// Reads every key before giving up, so that the reader has heard all complaints.
            pub(super) fn read(reader: &mut Reader<'_>) -> Option<Config> {
                $($(
                    let $field = reader.read::<$kind>(configuration!(@path $section $field $($path)?));
                )+
                let $section = (|| Some($Section { $($field: $field?),+ }))();
                )+
                Some(Config { $($section: $section?),+ })
            }

            /// What is different in `other`, in the order of the table.
            pub fn changes(&self, other: &Config) -> Vec<Change> {
                let mut changes = Vec::new();
                $($(if self.$section.$field != other.$section.$field {
                    let rules: Rules = $rules;
                    changes.push(Change {
                        key: configuration!(@path $section $field $($path)?),
                        from: <$kind as Kind>::show(&self.$section.$field),
                        to: <$kind as Kind>::show(&other.$section.$field),
                        reloadable: rules.reloadable,
                    });
                })+)+
                changes
            }

            /// Takes over from `other` whatever can be changed while the program runs.
            pub fn adopt(&mut self, other: &Config) {
                $($(if $rules.reloadable {
                    self.$section.$field.clone_from(&other.$section.$field);
                })+)+
            }

            /// Every key's path and value, as text that would be read as the same value; secrets are hidden.
            pub fn shown(&self) -> Vec<(&'static str, String)> {
                vec![$($((
                    configuration!(@path $section $field $($path)?),
                    <$kind as Kind>::show(&self.$section.$field),
                ),)+)+]
            }
        }
    };
    (@path $section:ident $field:ident) => { concat!(stringify!($section), ".", stringify!($field)) };
    (@path $section:ident $field:ident $path:literal) => { $path };
}

pub(super) use configuration;
