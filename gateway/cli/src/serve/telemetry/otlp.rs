//! From what a trace says of requests to the messages of OpenTelemetry's protocol.
//!
//! The trace's id is the request's `Audit-ID`, so that a trace, a record and the cluster's own log are found by one number.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, status::StatusCode};
use prost::Message as _;
use proxy::observe::Span as Request;

/// One message with these requests.
pub(super) fn message(requests: &[Request]) -> Vec<u8> {
    let scope = InstrumentationScope {
        name: "gatescribe".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = ScopeSpans {
        scope: Some(scope),
        spans: requests.iter().flat_map(spans).collect(),
        ..ScopeSpans::default()
    };
    let resource = Resource {
        attributes: vec![
            text("service.name", "gatescribe"),
            text("service.version", env!("CARGO_PKG_VERSION")),
        ],
        ..Resource::default()
    };
    let all = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![all],
    }
    .encode_to_vec()
}

/// The request, and below it each station that it came to.
fn spans(request: &Request) -> Vec<Span> {
    let mut all = vec![root(request)];
    let moments = &request.moments;
    let mut child = |name: &str, kind: SpanKind, from: Option<u64>, to: Option<u64>| {
        if let (Some(from), Some(to)) = (from, to) {
            let number = u64::try_from(all.len()).unwrap_or_default();
            all.push(Span {
                span_id: span_id(request, number),
                parent_span_id: span_id(request, 0),
                ..bare(request, name, kind, from, to)
            });
        }
    };
    child("identity", SpanKind::Internal, Some(0), moments.proved);
    child("decision", SpanKind::Internal, moments.proved, moments.decided);
    // An effect waits for the disk before it is sent; of a read that gap is nothing worth a span.
    child(
        "audit",
        SpanKind::Internal,
        moments.decided,
        moments.sent.filter(|_| moments.opened.is_none()),
    );
    child("upstream", SpanKind::Client, moments.sent, moments.answered);
    child("audit", SpanKind::Internal, moments.answered, moments.opened);
    let begins = moments.opened.or(moments.answered);
    child("answer", SpanKind::Internal, begins, begins.map(|_| moments.ended));
    all
}

fn root(request: &Request) -> Span {
    let mut attributes = vec![
        text("gatescribe.cluster", &request.cluster),
        text("gatescribe.verb", request.act.as_str()),
        text("http.request.method", request.method.as_str()),
    ];
    let words = [
        (
            "gatescribe.resource",
            Some(&*request.resource).filter(|resource| !resource.is_empty()),
        ),
        ("gatescribe.subject.id", request.subject.as_deref()),
        ("gatescribe.credential", request.credential),
        ("gatescribe.refusal", request.reason),
    ];
    attributes.extend(words.into_iter().filter_map(|(key, value)| Some(text(key, value?))));
    if let Some(status) = request.status {
        attributes.push(attribute("http.response.status_code", Value::IntValue(status.into())));
    }
    let is_failure = request.status.is_some_and(|status| status >= 500);
    Span {
        span_id: span_id(request, 0),
        attributes,
        links: request.link.iter().map(link).collect(),
        status: is_failure.then(|| Status {
            code: StatusCode::Error.into(),
            ..Status::default()
        }),
        ..bare(
            request,
            request.act.as_str(),
            SpanKind::Server,
            0,
            request.moments.ended,
        )
    }
}

fn bare(request: &Request, name: &str, kind: SpanKind, from: u64, to: u64) -> Span {
    let began = u64::try_from(request.received.unix_nanos()).unwrap_or_default();
    Span {
        trace_id: request.id.to_vec(),
        name: name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: began.saturating_add(from),
        end_time_unix_nano: began.saturating_add(to),
        ..Span::default()
    }
}

fn link(link: &proxy::observe::Link) -> Link {
    Link {
        trace_id: link.trace.to_vec(),
        span_id: link.span.to_vec(),
        ..Link::default()
    }
}

/// Ids differ inside a trace, which is all that they have to; the trace's own is unique. The upper half of the id's last
/// eight bytes has the variant's bits set, so none is zero.
fn span_id(request: &Request, number: u64) -> Vec<u8> {
    let [.., a, b, c, d, e, f, g, h] = request.id;
    let base = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    (base ^ number).to_be_bytes().to_vec()
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use model::time::Timestamp;
    use proxy::observe::{Act, Moments};

    use super::*;

    fn request(moments: Moments) -> Request {
        Request {
            id: uuid::Uuid::now_v7().into_bytes(),
            cluster: "prod".into(),
            act: Act::Create,
            method: http::Method::POST,
            resource: "pods".into(),
            status: Some(502),
            subject: Some("s1".into()),
            credential: Some("gatewayToken"),
            reason: None,
            link: Some(proxy::observe::Link {
                trace: [1; 16],
                span: [2; 8],
            }),
            received: Timestamp::from_unix_nanos(1_000),
            moments,
        }
    }

    fn read(request: &Request) -> Vec<Span> {
        let message = ExportTraceServiceRequest::decode(&*message(std::slice::from_ref(request))).unwrap();
        message.resource_spans[0].scope_spans[0].spans.clone()
    }

    fn outline(spans: &[Span]) -> Vec<(&str, u64, u64)> {
        let each = spans
            .iter()
            .map(|span| (span.name.as_str(), span.start_time_unix_nano, span.end_time_unix_nano));
        each.collect()
    }

    #[test]
    fn an_effect_has_a_span_for_each_station_below_that_of_the_request() {
        let effect = request(Moments {
            proved: Some(10),
            decided: Some(20),
            sent: Some(50),
            answered: Some(80),
            opened: None,
            ended: 90,
        });
        let spans = read(&effect);
        let wanted = [
            ("create", 1_000, 1_090),
            ("identity", 1_000, 1_010),
            ("decision", 1_010, 1_020),
            ("audit", 1_020, 1_050),
            ("upstream", 1_050, 1_080),
            ("answer", 1_080, 1_090),
        ];
        assert_eq!(outline(&spans), wanted);
        let root = &spans[0];
        assert_eq!(root.trace_id, effect.id);
        assert!(root.parent_span_id.is_empty() && root.status.is_some());
        assert_eq!(
            (&root.links[0].trace_id[..], &root.links[0].span_id[..]),
            (&[1; 16][..], &[2; 8][..])
        );
        assert!(
            spans[1..]
                .iter()
                .all(|span| span.parent_span_id == root.span_id && span.trace_id == root.trace_id)
        );
        let mut ids: Vec<_> = spans.iter().map(|span| &span.span_id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), spans.len());
    }

    #[test]
    fn a_read_waits_for_the_disk_after_its_answer() {
        let read_call = request(Moments {
            proved: Some(10),
            decided: Some(20),
            sent: Some(21),
            answered: Some(60),
            opened: Some(70),
            ended: 90,
        });
        let names: Vec<_> = outline(&read(&read_call))
            .into_iter()
            .map(|(name, ..)| name.to_owned())
            .collect();
        assert_eq!(names, ["create", "identity", "decision", "upstream", "audit", "answer"]);
    }

    #[test]
    fn a_refused_request_has_the_stations_that_it_came_to() {
        let refused = request(Moments {
            ended: 5,
            ..Moments::default()
        });
        assert_eq!(outline(&read(&refused)), [("create", 1_000, 1_005)]);
    }
}
