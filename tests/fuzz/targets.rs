//! The fuzz targets by name: one list for the fuzzer and for the replay of its corpora.

/// A target takes any bytes and panics only when something that holds for all of them does not hold.
pub(crate) type Target = fn(&[u8]);

/// All of them. A name is also that of the folder of its corpus.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("add_checkpoint", ledger::fuzz_add_checkpoint),
    ("answer_scan", proxy::audit::fuzz_answer_scan),
    ("asciicast", recording::fuzz_asciicast),
    ("audit_policy", audit_policy::fuzz_audit_policy),
    ("configuration", cli::config::fuzz_configuration),
    ("consistency", ledger::fuzz_consistency),
    ("entry_bundle", ledger::fuzz_entry_bundle),
    ("entered", proxy::fuzz_entered),
    ("evidence_file", cli::fuzz_evidence_file),
    ("event_border", proxy::body::fuzz_event_border),
    ("exit_status", recording::fuzz_exit_status),
    ("frame_reader", ledger::fuzz_frame_reader),
    ("head_guard", proxy::listener::fuzz_head_guard),
    ("header_strip", proxy::headers::fuzz_header_strip),
    ("jwt_preparse", oidc::fuzz_jwt_preparse),
    ("note", ledger::fuzz_note),
    ("open_part", proxy::audit::fuzz_open_part),
    ("own_rights", proxy::fuzz_own_rights),
    ("payload", payload::fuzz_payload),
    ("played", cli::fuzz_played),
    ("protobuf_wire", payload::fuzz_protobuf_wire),
    ("query", search::fuzz_query),
    ("receipt", ledger::fuzz_receipt),
    ("recording_reader", recording::fuzz_recording_reader),
    ("request_info", model::request::fuzz_request_info),
    ("served_log", ledger::fuzz_remote),
    ("server_log", insight::fuzz_server_log),
    ("spdy_tap", recording::tap::fuzz_spdy_tap),
    ("stream_protocol", recording::tap::fuzz_stream_protocol),
    ("tar_reader", recording::fuzz_tar_reader),
    ("target", model::request::fuzz_target),
    ("tile_path", ledger::fuzz_tile_path),
    ("traceparent", proxy::observe::fuzz_traceparent),
    ("transcript", recording::fuzz_transcript),
    ("unrecorded_calls", proxy::audit::fuzz_unrecorded_calls),
    ("websocket_tap", recording::tap::fuzz_websocket_tap),
];
