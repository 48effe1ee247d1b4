//! The closed list of what the listener refuses in a request, each with its status and a text for the caller.
//!
//! Not the place for refusals that depend on identity, route or policy: those are decided later. A violation is a
//! property of the bytes alone. Invariant: every variant has one status and one text that says what is wrong, why it is
//! refused and what to do instead; none of them repeats anything that the caller sent.

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelValue;

use crate::observe::listed;

listed! {
    /// What is wrong with a request head or with the framing of its body (RFC 9110, RFC 9112, RFC 9113).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
    pub enum Violation {
        /// The request line is not `METHOD SP target SP HTTP/x.y`.
        RequestLineMalformed,
        /// The method is a token that this gateway does not know; methods are case-sensitive (RFC 9110 §9.1).
        MethodUnknown,
        /// `CONNECT` or `TRACE`.
        MethodForbidden,
        /// Neither HTTP/1.1 nor HTTP/1.0 on a connection that negotiated HTTP/1.1.
        VersionUnsupported,
        /// The target is longer than the limit.
        TargetTooLong,
        /// The target is neither a path, nor `*` with `OPTIONS`, nor an absolute URL with a path.
        TargetFormUnknown,
        /// A control byte, 8-bit byte, `\`, `#` or another character that a target cannot contain (RFC 3986).
        TargetByteForbidden,
        /// A `%` that is not followed by two hexadecimal digits.
        TargetPercentInvalid,
        /// An absolute target whose scheme is not the one of this listener.
        TargetSchemeForbidden,
        /// An absolute target or `:authority` that names another host than `Host`.
        TargetHostMismatch,
        /// Empty lines before the request line.
        LeadingBlankLine,
        /// A line that ends with LF alone.
        BareLineFeed,
        /// A CR that is not followed by LF.
        BareCarriageReturn,
        /// A header line that begins with white space (obs-fold).
        FoldedHeader,
        /// A header line without a colon, or with a name that is not a token.
        HeaderNameInvalid,
        /// A header value with a control byte.
        HeaderValueInvalid,
        /// A name that a lenient reader takes for one of the headers that frame or route a message.
        FramingHeaderAlias,
        /// The whole head is larger than the limit.
        HeadTooLarge,
        /// One header line is larger than the limit.
        HeaderLineTooLarge,
        /// More header lines than the limit.
        TooManyHeaders,
        /// `Content-Length` is not a plain decimal number without leading zeros.
        ContentLengthInvalid,
        /// More than one `Content-Length`, even if they are equal.
        ContentLengthRepeated,
        /// `Transfer-Encoding` is not exactly `chunked`.
        TransferEncodingUnsupported,
        /// More than one `Transfer-Encoding` line.
        TransferEncodingRepeated,
        /// Both `Content-Length` and `Transfer-Encoding`.
        LengthAndTransferEncoding,
        /// `Transfer-Encoding` in an HTTP/1.0 request.
        TransferEncodingOnHttp10,
        /// An HTTP/1.0 request with a method that has a body, without `Content-Length`.
        LengthRequired,
        /// No `Host` and no `:authority`.
        HostMissing,
        /// More than one `Host`.
        HostRepeated,
        /// A `Host` that is empty, a list, or has user information, a path or a bad port.
        HostInvalid,
        /// The host has other TLS settings than the name for which this connection was opened.
        MisdirectedHost,
        /// An `Expect` other than `100-continue`.
        ExpectationUnknown,
        /// `Upgrade` without `Connection: upgrade`.
        UpgradeWithoutConnection,
        /// `Upgrade` to anything but exactly one of `websocket` and `SPDY/3.1`.
        UpgradeUnknown,
        /// `Upgrade` in a request that announces a body.
        UpgradeWithBody,
        /// `Upgrade` on HTTP/1.0.
        UpgradeOnHttp10,
        /// A chunk size that is not one to fifteen hexadecimal digits, or has no CR LF behind it.
        ChunkSizeInvalid,
        /// Chunk extensions with control bytes, or more of them than the limit.
        ChunkExtensionInvalid,
        /// Chunk data that is not followed by CR LF.
        ChunkEndMissing,
        /// A trailer section that is malformed or larger than the limit.
        TrailerInvalid,
        /// A header of one connection (`Connection`, `Upgrade`, `Transfer-Encoding`, `TE`, …) in an HTTP/2 request.
        ConnectionHeaderOnHttp2,
        /// What was checked and what was parsed afterwards are not the same; never seen, refused all the same.
        HeadsDisagree,
    }
}

impl Violation {
    /// The HTTP status with which the request is refused.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::MethodUnknown | Self::MethodForbidden => StatusCode::METHOD_NOT_ALLOWED,
            Self::VersionUnsupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge | Self::HeaderLineTooLarge | Self::TooManyHeaders => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::LengthRequired => StatusCode::LENGTH_REQUIRED,
            Self::MisdirectedHost => StatusCode::MISDIRECTED_REQUEST,
            Self::ExpectationUnknown => StatusCode::EXPECTATION_FAILED,
            Self::RequestLineMalformed
            | Self::TargetFormUnknown
            | Self::TargetByteForbidden
            | Self::TargetPercentInvalid
            | Self::TargetSchemeForbidden
            | Self::TargetHostMismatch
            | Self::LeadingBlankLine
            | Self::BareLineFeed
            | Self::BareCarriageReturn
            | Self::FoldedHeader
            | Self::HeaderNameInvalid
            | Self::HeaderValueInvalid
            | Self::FramingHeaderAlias
            | Self::ContentLengthInvalid
            | Self::ContentLengthRepeated
            | Self::TransferEncodingUnsupported
            | Self::TransferEncodingRepeated
            | Self::LengthAndTransferEncoding
            | Self::TransferEncodingOnHttp10
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostInvalid
            | Self::UpgradeWithoutConnection
            | Self::UpgradeUnknown
            | Self::UpgradeWithBody
            | Self::UpgradeOnHttp10
            | Self::ChunkSizeInvalid
            | Self::ChunkExtensionInvalid
            | Self::ChunkEndMissing
            | Self::TrailerInvalid
            | Self::ConnectionHeaderOnHttp2
            | Self::HeadsDisagree => StatusCode::BAD_REQUEST,
        }
    }

    /// What is wrong, why it is refused, and what to do: one sentence for the caller, without anything it sent.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::RequestLineMalformed => {
                "the request line is not `METHOD target HTTP/1.1` with single spaces, so its end is a guess; \
                 send a well-formed request line (is this a TLS or HTTP/2 client on the wrong port?)"
            }
            Self::MethodUnknown => {
                "the method is unknown here (methods are case-sensitive) and an unknown method has no rule that could \
                 allow it; use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS"
            }
            Self::MethodForbidden => {
                "CONNECT and TRACE are never forwarded, as they tunnel or echo past the decision; use an ordinary method"
            }
            Self::VersionUnsupported => {
                "only HTTP/1.1 and HTTP/1.0 are spoken on this connection, as the protocol follows ALPN alone; \
                 offer `h2` in ALPN for HTTP/2"
            }
            Self::TargetTooLong => "the request target is longer than the limit; send the data in the body instead",
            Self::TargetFormUnknown => {
                "the request target is neither a path nor an absolute URL with a path; begin the target with `/`"
            }
            Self::TargetByteForbidden => {
                "the request target contains a character that readers treat differently (control, 8-bit, `\\`, `#`, \
                 space, `<`, `>`, quote); percent-encode it"
            }
            Self::TargetPercentInvalid => {
                "the request target has a `%` without two hexadecimal digits, which readers decode differently; \
                 write a literal percent sign as `%25`"
            }
            Self::TargetSchemeForbidden => {
                "the absolute request target has another scheme than this listener; send the path alone"
            }
            Self::TargetHostMismatch => {
                "the request target and the `Host` header name different hosts, so two readers route it differently; \
                 send the same host in both"
            }
            Self::LeadingBlankLine => {
                "there are empty lines before the request line, as when a body is longer than announced; \
                 begin the request with its method"
            }
            Self::BareLineFeed => {
                "a line ends with LF alone, which not every reader takes for an end; end lines with CR LF"
            }
            Self::BareCarriageReturn => {
                "a line contains CR without LF, which some readers take for an end; end lines with CR LF and nowhere else"
            }
            Self::FoldedHeader => {
                "a header line begins with white space (obsolete folding), which readers join or drop; \
                 put each header on one line"
            }
            Self::HeaderNameInvalid => {
                "a header line has no colon or its name is not a token, so readers disagree about it; \
                 send `Name: value` without a space before the colon"
            }
            Self::HeaderValueInvalid => "a header value contains a control character; remove it or encode the value",
            Self::FramingHeaderAlias => {
                "a header name is a look-alike of one that frames or routes the request (underscore, dot, doubled \
                 dash), which lenient servers accept as the real one; remove it or spell it exactly"
            }
            Self::HeadTooLarge => "the request head is larger than the limit; send fewer or shorter headers (cookies?)",
            Self::HeaderLineTooLarge => "one header line is larger than the limit; send a shorter value",
            Self::TooManyHeaders => "the request has more header lines than the limit; send fewer headers",
            Self::ContentLengthInvalid => {
                "`Content-Length` is not a plain decimal number without sign or leading zeros, which readers understand \
                 differently; send the exact number of bytes"
            }
            Self::ContentLengthRepeated => {
                "`Content-Length` is given more than once, and readers choose different ones; send it once"
            }
            Self::TransferEncodingUnsupported => {
                "`Transfer-Encoding` is not exactly `chunked`, so the end of the body is a guess; \
                 send `Transfer-Encoding: chunked` or `Content-Length`"
            }
            Self::TransferEncodingRepeated => {
                "`Transfer-Encoding` is given more than once, so the end of the body is a guess; send it once"
            }
            Self::LengthAndTransferEncoding => {
                "the request has both `Content-Length` and `Transfer-Encoding`, which two readers take for two different \
                 bodies; send only one of them"
            }
            Self::TransferEncodingOnHttp10 => {
                "HTTP/1.0 has no `Transfer-Encoding`, so readers disagree about the body; use HTTP/1.1 or `Content-Length`"
            }
            Self::LengthRequired => {
                "an HTTP/1.0 request with this method needs `Content-Length`, as a body that ends with the connection \
                 cannot be told from a broken one; send `Content-Length`"
            }
            Self::HostMissing => "the request names no host, so it cannot be routed; send one `Host` header",
            Self::HostRepeated => {
                "the request has more than one `Host` header, and readers choose different ones; send one"
            }
            Self::HostInvalid => {
                "the `Host` is empty, a list, or has user information, a path or a bad port; send `name` or `name:port`"
            }
            Self::MisdirectedHost => {
                "this connection was opened for a host with other TLS settings; open a new connection for this host"
            }
            Self::ExpectationUnknown => "only `Expect: 100-continue` can be met; remove the `Expect` header",
            Self::UpgradeWithoutConnection => {
                "`Upgrade` without `Connection: upgrade` means nothing to one reader and a switch of protocol to another; \
                 send both or neither"
            }
            Self::UpgradeUnknown => {
                "an upgrade must name exactly one protocol, `websocket` or `SPDY/3.1`, as others (h2c, TLS) would pass \
                 requests by the decision; use one of these"
            }
            Self::UpgradeWithBody => {
                "an upgrade request with a body leaves open whose bytes follow; send the upgrade without a body"
            }
            Self::UpgradeOnHttp10 => "HTTP/1.0 has no upgrade; use HTTP/1.1",
            Self::ChunkSizeInvalid => {
                "a chunk of the body has no valid size line, so its end is a guess; send sizes as plain hexadecimal digits"
            }
            Self::ChunkExtensionInvalid => "chunk extensions are malformed or too long; send chunks without extensions",
            Self::ChunkEndMissing => {
                "chunk data is not followed by CR LF, so the framing is lost; send exact chunk sizes"
            }
            Self::TrailerInvalid => {
                "the trailers of the body are malformed or too large; send the body without trailers"
            }
            Self::ConnectionHeaderOnHttp2 => {
                "the request carries a header of one HTTP/1 connection, which HTTP/2 forbids (RFC 9113 §8.2.2); remove it"
            }
            Self::HeadsDisagree => {
                "the request was understood in two ways and is refused for safety; report this with the decision id"
            }
        }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.text())
    }
}

impl std::error::Error for Violation {}
