//! The macro that writes an agent's messages.

/// Writes the closed set of messages that an agent understands: an enum, a struct for each message,
/// and their [`Protocol`](crate::Protocol).
///
/// A message with `-> Type` is a question: its variant also carries the
/// [`ReplyTo`](crate::ReplyTo) for the answer. Message structs are serde types; their names are the
/// types under which they travel. Each struct stands where the macro does, so two agents with a
/// message of one name each need a module.
///
/// What a message holds is written as in a struct: nothing, `(types)`, or `{ fields }`. A message
/// with one type travels as that value, one with several types as a list, one with fields as a map.
///
/// ```
/// # mod lictor { pub use lictor_runtime::*; }
/// lictor_runtime::messages! {
///     /// What a counter understands.
///     pub enum CounterMessage {
///         /// Count further.
///         Add(u64),
///         /// Start again.
///         Restart {
///             /// From where.
///             from: u64,
///             /// Why.
///             reason: String,
///         },
///         /// How far have you come?
///         Get -> u64,
///     }
/// }
/// # fn handle(message: CounterMessage) {
/// match message {
///     CounterMessage::Add(Add(n)) => { /* ... */ }
///     CounterMessage::Restart(Restart { from, reason }) => { /* ... */ }
///     CounterMessage::Get(Get, reply) => { reply.send(7); }
/// }
/// # }
/// ```
#[macro_export]
macro_rules! messages {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $(
                $(#[$vmeta:meta])*
                $variant:ident
                $(($($field:ty),+ $(,)?))?
                $({ $($(#[$fmeta:meta])* $fname:ident: $ftype:ty),+ $(,)? })?
                $(-> $reply:ty)?
            ),* $(,)?
        }
    ) => {
        $(
            $crate::__message_struct! {
                [$(#[$vmeta])*] $vis $variant
                ($($($field),+)?) $({ $($(#[$fmeta])* $fname: $ftype),+ })?
            }
            $( impl $crate::Request for $variant { type Reply = $reply; } )?
            $crate::__message_from! { $name $variant $($reply)? }
        )*

        $(#[$meta])*
        #[derive(Debug)]
        $vis enum $name {
            $( $(#[$vmeta])* $variant($variant $(, $crate::ReplyTo<$reply>)?), )*
        }

        impl $crate::Protocol for $name {
            fn decode(
                #[allow(unused_mut, reason = "unused where no message is a question")]
                mut message: $crate::Message,
            ) -> ::core::result::Result<Self, $crate::DecodeError> {
                $(
                    if message.kind() == ::core::stringify!($variant) {
                        $( let reply = $crate::message::reply_to::<$reply>(&mut message)?; )?
                        let content = $crate::__message_decode!(
                            message, $variant $(($($field),+))? $({ $($fname),+ })?
                        )?;
                        return ::core::result::Result::Ok(
                            $crate::__message_build!($name $variant content $(reply $reply)?)
                        );
                    }
                )*
                let known: &[&str] = &[$(::core::stringify!($variant)),*];
                ::core::result::Result::Err($crate::DecodeError(::std::format!(
                    "unknown message type {:?}; known are {}", message.kind(), known.join(", ")
                )))
            }

            fn encode(self) -> ::core::result::Result<$crate::Message, $crate::DecodeError> {
                match self {
                    $( $crate::__message_pattern!(Self $variant content $(reply $reply)?) => {
                        let payload = $crate::message::to_value(&content)?;
                        let message = $crate::Message::new(::core::stringify!($variant), payload);
                        $( let message = message.with_reply_to(
                            $crate::ReplyTo::<$reply>::raw(reply)); )?
                        ::core::result::Result::Ok(message)
                    } )*
                }
            }

            fn in_hand(&self) -> ::core::option::Option<$crate::InHand> {
                match self {
                    $( $crate::__message_pattern!(Self $variant _content $(reply $reply)?) => {
                        $( let hold: $crate::InHand = $crate::ReplyTo::<$reply>::in_hand(reply);
                           return ::core::option::Option::Some(hold); )?
                        #[allow(unreachable_code, reason = "reached only without a reply")]
                        ::core::option::Option::None
                    } )*
                }
            }

            fn duplicate(&self) -> ::core::option::Option<Self> {
                ::core::option::Option::Some(match self {
                    $( $crate::__message_pattern!(Self $variant content $(reply $reply)?) => {
                        let content = ::core::clone::Clone::clone(content);
                        $( let reply = $crate::ReplyTo::<$reply>::duplicate(reply); )?
                        $crate::__message_build!($name $variant content $(reply $reply)?)
                    } )*
                })
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __message_struct {
    ([$($meta:tt)*] $vis:vis $variant:ident ()) => {
        $($meta)*
        #[derive(Clone, Debug, PartialEq, $crate::serde::Serialize, $crate::serde::Deserialize)]
        #[serde(crate = "lictor::serde")]
        $vis struct $variant;
    };
    ([$($meta:tt)*] $vis:vis $variant:ident ($($field:ty),+)) => {
        $($meta)*
        #[derive(Clone, Debug, PartialEq, $crate::serde::Serialize, $crate::serde::Deserialize)]
        #[serde(crate = "lictor::serde")]
        $vis struct $variant($(
            /// A field of the message.
            pub $field
        ),+);
    };
    ([$($meta:tt)*] $vis:vis $variant:ident () {
        $($(#[$fmeta:meta])* $fname:ident: $ftype:ty),+
    }) => {
        $($meta)*
        #[derive(Clone, Debug, PartialEq, $crate::serde::Serialize, $crate::serde::Deserialize)]
        #[serde(crate = "lictor::serde")]
        $vis struct $variant {
            $($(#[$fmeta])* pub $fname: $ftype),+
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __message_from {
    ($name:ident $variant:ident) => {
        impl ::core::convert::From<$variant> for $name {
            fn from(content: $variant) -> Self {
                Self::$variant(content)
            }
        }
    };
    ($name:ident $variant:ident $reply:ty) => {
        impl ::core::convert::From<($variant, $crate::ReplyTo<$reply>)> for $name {
            fn from((content, reply): ($variant, $crate::ReplyTo<$reply>)) -> Self {
                Self::$variant(content, reply)
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __message_pattern {
    ($name:ident $variant:ident $content:ident) => {
        $name::$variant($content)
    };
    ($name:ident $variant:ident $content:ident $reply:ident $type:ty) => {
        $name::$variant($content, $reply)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __message_build {
    ($name:ident $variant:ident $content:ident) => {
        $name::$variant($content)
    };
    ($name:ident $variant:ident $content:ident $reply:ident $type:ty) => {
        $name::$variant($content, $reply)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __message_decode {
    // A message without content takes any payload: there is nothing in it to misread.
    ($message:ident, $variant:ident) => {
        ::core::result::Result::<_, $crate::DecodeError>::Ok($variant)
    };
    ($message:ident, $variant:ident $content:tt) => {
        $crate::message::from_value::<$variant>($message.take_payload()).map_err(|error| {
            $crate::DecodeError(::std::format!("{}: {error}", ::core::stringify!($variant)))
        })
    };
}
