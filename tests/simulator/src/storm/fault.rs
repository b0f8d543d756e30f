//! How the uses of ports fail. A fault names the site and the use (counted from the beginning), so that leaving one out moves
//! the others as little as can be.

/// Where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// A request to a CRM.
    Http,
    /// A batch of statements.
    Database,
    /// A doorbell.
    Queue,
    /// Asking the gate.
    Gate,
    /// Telling the gate what the CRM said.
    Report,
    /// Telling the gate to forget.
    Forget,
    /// The beginning of a request: its clock.
    Clock,
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it; `label` words them")]
pub enum Kind {
    NotSent,
    RequestLost,
    AnswerLost,
    EffectLate,
    AnswerLate,
    RateLimited,
    Unavailable,
    ServerError,
    GatewayTimeout,
    Locked,
    Moving,
    Unauthorized,
    HtmlBefore,
    ServerErrorAfter,
    GatewayTimeoutAfter,
    HtmlAfter,
    TornBody,
    CrashBeforeCall,
    CrashAfterCall,
    Refused,
    LostBeforeCommit,
    LostAfterCommit,
    CrashBeforeBatch,
    CrashAfterBatch,
    Stall,
    RingRefused,
    RingTakenUnsaid,
    RingLost,
    RingTwice,
    RingLate,
    GateUnreachable,
    GateAnswerLost,
    GateEvicted,
    GateTwin,
    ReportLost,
    ForgetLost,
    ClockAhead,
    ClockBehind,
}

impl Kind {
    /// Those that seeds draw from, with their sites.
    pub const DRAWN: [(Self, Site); 38] = [
        (Self::NotSent, Site::Http),
        (Self::RequestLost, Site::Http),
        (Self::AnswerLost, Site::Http),
        (Self::EffectLate, Site::Http),
        (Self::AnswerLate, Site::Http),
        (Self::RateLimited, Site::Http),
        (Self::Unavailable, Site::Http),
        (Self::ServerError, Site::Http),
        (Self::GatewayTimeout, Site::Http),
        (Self::Locked, Site::Http),
        (Self::Moving, Site::Http),
        (Self::Unauthorized, Site::Http),
        (Self::HtmlBefore, Site::Http),
        (Self::ServerErrorAfter, Site::Http),
        (Self::GatewayTimeoutAfter, Site::Http),
        (Self::HtmlAfter, Site::Http),
        (Self::TornBody, Site::Http),
        (Self::CrashBeforeCall, Site::Http),
        (Self::CrashAfterCall, Site::Http),
        (Self::Refused, Site::Database),
        (Self::LostBeforeCommit, Site::Database),
        (Self::LostAfterCommit, Site::Database),
        (Self::CrashBeforeBatch, Site::Database),
        (Self::CrashAfterBatch, Site::Database),
        (Self::Stall, Site::Database),
        (Self::RingRefused, Site::Queue),
        (Self::RingTakenUnsaid, Site::Queue),
        (Self::RingLost, Site::Queue),
        (Self::RingTwice, Site::Queue),
        (Self::RingLate, Site::Queue),
        (Self::GateUnreachable, Site::Gate),
        (Self::GateAnswerLost, Site::Gate),
        (Self::GateEvicted, Site::Gate),
        (Self::GateTwin, Site::Gate),
        (Self::ReportLost, Site::Report),
        (Self::ForgetLost, Site::Forget),
        (Self::ClockAhead, Site::Clock),
        (Self::ClockBehind, Site::Clock),
    ];

    /// For people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotSent => "request could not be sent",
            Self::RequestLost => "request lost before its effect",
            Self::AnswerLost => "answer lost after the effect",
            Self::EffectLate => "effect after the deadline",
            Self::AnswerLate => "effect at once, answer after the deadline",
            Self::RateLimited => "429",
            Self::Unavailable => "503",
            Self::ServerError => "500 before the effect",
            Self::GatewayTimeout => "504 before the effect",
            Self::Locked => "423",
            Self::Moving => "477",
            Self::Unauthorized => "401",
            Self::HtmlBefore => "HTML 503 before the effect",
            Self::ServerErrorAfter => "500 after the effect",
            Self::GatewayTimeoutAfter => "504 after the effect",
            Self::HtmlAfter => "HTML 502 after the effect",
            Self::TornBody => "torn body after the effect",
            Self::CrashBeforeCall => "crash before a call",
            Self::CrashAfterCall => "crash after a call's effect",
            Self::Refused => "database refuses",
            Self::LostBeforeCommit => "database lost before commit",
            Self::LostAfterCommit => "database lost after commit",
            Self::CrashBeforeBatch => "crash before a batch",
            Self::CrashAfterBatch => "crash after a commit",
            Self::Stall => "stands still past its lease",
            Self::RingRefused => "queue refuses",
            Self::RingTakenUnsaid => "queue takes and says it did not",
            Self::RingLost => "queue loses a message",
            Self::RingTwice => "queue delivers twice",
            Self::RingLate => "queue delivers late, out of order",
            Self::GateUnreachable => "gate unreachable",
            Self::GateAnswerLost => "gate's answer lost",
            Self::GateEvicted => "gate evicted in the middle",
            Self::GateTwin => "second instance of a gate",
            Self::ReportLost => "report to the gate lost",
            Self::ForgetLost => "forget to the gate lost",
            Self::ClockAhead => "clock ahead",
            Self::ClockBehind => "clock behind",
        }
    }
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub site: Site,
    /// The first use that it hits, from 1.
    pub nth: u64,
    /// How many uses it hits.
    pub count: u64,
    /// How.
    pub kind: Kind,
    /// 1 to 1,000: how much of it, for those that have a degree.
    pub extent_ms: i64,
}
