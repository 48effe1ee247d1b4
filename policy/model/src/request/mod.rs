//! The request: target, RequestInfo, class of act.
