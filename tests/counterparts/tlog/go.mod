module gatescribe.dev/counterparts/tlog

go 1.26.0
