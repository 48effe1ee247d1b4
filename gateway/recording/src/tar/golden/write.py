"""Writes the archives of this folder that Python's tarfile writes: `python3 write.py`."""

import io
import tarfile

LONG = "n" * 180


def member(name, kind=tarfile.REGTYPE, content=b"", link=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), link
    info.mode, info.mtime, info.uid, info.gid = 0o644, 1700000000, 1000, 1000
    info.uname = info.gname = "me"
    return info, io.BytesIO(content)


for name, form in [("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)]:
    with tarfile.open(f"python_{name}.tar", "w", format=form) as archive:
        members = [
            member("dir", tarfile.DIRTYPE),
            member("dir/plain.txt", content=b"hello\n"),
            member("empty"),
            member("d\u00e9j\u00e0.txt", content=b"vu"),
            member("link", tarfile.SYMTYPE, link="dir/plain.txt"),
            member("hard", tarfile.LNKTYPE, link="dir/plain.txt"),
            member("pipe", tarfile.FIFOTYPE),
            member("device", tarfile.CHRTYPE),
        ]
        if name != "ustar":
            members += [member(f"d/{LONG}", content=b"long"), member("far", tarfile.SYMTYPE, link=LONG)]
        if name == "pax":
            info, content = member("late", content=b"1")
            info.mtime = 1700000000.25
            members.append((info, content))
        for info, content in members:
            archive.addfile(info, content)
