-- Answers each request that HAProxy parsed with what it saw, and writes the same line into a journal.
--
-- HAProxy keeps the order of header lines and their bytes, and writes names in lower case. `set-var` in the configuration keeps
-- the head and the target as HAProxy has them before this service runs.
core.register_service("echo", "http", function(applet)
    -- Behind `Upgrade` HAProxy reads on until the client leaves, whether a body was announced or not.
    local framed = applet.headers["content-length"] or applet.headers["transfer-encoding"]
    local body = framed and applet:receive() or ""
    local digest = applet.c:hex(applet.c:sha2(body, 256)):lower()
    local announced = applet.headers["content-length"]
    local complete = announced == nil or tonumber(announced[0]) == #body
    local line = string.format(
        '{"method":"%s","target":"%s","block":"%s","body":{"length":%d,"sha256":"%s","complete":%s}}\n',
        applet.c:base64(applet.method), applet:get_var("txn.target"), applet:get_var("txn.block"), #body, digest,
        tostring(complete))
    local journal = assert(io.open(os.getenv("JOURNAL"), "a"))
    journal:write(line)
    journal:close()
    applet:set_status(200)
    applet:add_header("content-type", "application/json")
    applet:add_header("content-length", tostring(#line))
    applet:start_response()
    applet:send(line)
end)
