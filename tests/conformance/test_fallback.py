# SPDX-License-Identifier: MIT
"""io_uring taken away, whole or in part, by a seccomp filter like those of containers: asked for by
name the server does not start and says why; under `auto` it serves through the next best and says so once."""

import ctypes
import errno
import platform
import re
import struct

import pytest

import wire

SETUP, REGISTER = 425, 427        # the same on every architecture
REGISTER_RING_FDS, REGISTER_PBUF_RING = 20, 22


def both_backends():
    version = wire.run("--version").stdout
    return "io_uring" in version and re.search(r"^(epoll|libev): ", version, re.M)


@pytest.fixture(autouse=True)
def where_it_can_be_tried():
    if platform.system() != "Linux" or struct.pack("=H", 1) != struct.pack("<H", 1):
        pytest.skip("the filter is written for a little-endian Linux")
    if not re.search(r"\bio_uring\b", wire.run("--version").stdout):
        pytest.skip("io_uring is not compiled in")


def needs_io_uring():
    from wire_fixtures import backend_list
    if not any(e.startswith("io_uring") for e in backend_list()[0]):
        pytest.skip("io_uring does not run here, so there is nothing to take away")


def refuse(number, error, opcode=None):
    """A function that installs a filter: the system call (with that opcode as its second argument)
    fails with `error`, everything else goes on as before."""
    def code(op, k, jt=0, jf=0):
        return struct.pack("=HBBI", op, jt, jf, k)
    load, jeq, ret = 0x20, 0x15, 0x06
    allow, fail = 0x7fff0000, 0x00050000 | error
    program = [code(load, 0)]
    if opcode is None:
        program += [code(jeq, number, 0, 1), code(ret, fail), code(ret, allow)]
    else:
        program += [code(jeq, number, 0, 3), code(load, 24), code(jeq, opcode, 0, 1), code(ret, fail),
                    code(ret, allow)]
    text = b"".join(program)
    libc = ctypes.CDLL(None, use_errno=True)

    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    def install():
        p = Program(len(program), text)
        if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(p), 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
    return install


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS, errno.EACCES],
                         ids=lambda e: errno.errorcode[e])
def test_asked_for_by_name(error):
    done = wire.run("--backend", "io_uring", "--listen", "127.0.0.1:0", preexec_fn=refuse(SETUP, error))
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert "io_uring" in done.stderr
    if error == errno.ENOSYS:
        assert re.search(r"(?i)kernel|seccomp", done.stderr), done.stderr
    else:
        assert re.search(r"(?i)seccomp|io_uring_disabled", done.stderr), done.stderr
    assert re.search(r"libev|auto|sysctl|seccomp|kernel", done.stderr), "no way out: " + done.stderr


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS], ids=lambda e: errno.errorcode[e])
def test_auto_falls_back(error):
    if not both_backends():
        pytest.skip("nothing to fall back to is compiled in")
    with wire.Server("auto", before_exec=refuse(SETUP, error)) as s:
        assert re.search(r"backend[ =](epoll|libev)\b", s.start_line), s.start_line
        said = [l for l in s.log().splitlines() if "io_uring" in l and "listening on" not in l]
        assert len(said) == 1, "which backend and why, once: %s" % said
        with s.connect() as c:
            assert c.get("/json/5").status == 200


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS], ids=lambda e: errno.errorcode[e])
def test_probe_says_so(error):
    done = wire.run("--probe", preexec_fn=refuse(SETUP, error))
    assert done.returncode == (0 if both_backends() else 1), done
    line = next(l for l in done.stdout.splitlines() if l.startswith("io_uring"))
    assert not re.search(r"\bruns\b", line) or re.search(r"(?i)not|cannot", line), done.stdout
    assert re.search(r"(?i)seccomp|io_uring_disabled|kernel", done.stdout)


def test_a_feature_that_can_be_done_without():
    needs_io_uring()
    with wire.Server("io_uring", before_exec=refuse(REGISTER, errno.EINVAL, REGISTER_RING_FDS)) as s:
        e = s.exchange(wire.request("GET /json/50 HTTP/1.1") * 20, responses=20)
        assert len(e.finals) == 20 and not e.error
        assert re.search(r"backend[ =]io_uring", s.start_line)


def test_provided_buffers_refused():
    """What the backend cannot do without: by name a refusal, under `auto` the next best."""
    needs_io_uring()
    done = wire.run("--backend", "io_uring", "--listen", "127.0.0.1:0",
                    preexec_fn=refuse(REGISTER, errno.EINVAL, REGISTER_PBUF_RING))
    assert done.returncode == 1 and "io_uring" in done.stderr, (done.returncode, done.stderr)
    if both_backends():
        with wire.Server("auto", before_exec=refuse(REGISTER, errno.EINVAL, REGISTER_PBUF_RING)) as s:
            assert re.search(r"backend[ =](epoll|libev)\b", s.start_line), s.start_line


def test_little_memory_may_be_locked(backend):
    """RLIMIT_MEMLOCK 0: rings are not charged to it on kernels of today; on older ones the server
    says so.  Either it serves or it says why it does not."""
    import resource

    def no_memlock():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
    try:
        with wire.Server(backend, before_exec=no_memlock) as s:
            with s.connect() as c:
                assert c.get("/pipeline").body == b"ok"
    except wire.StartError as e:
        assert e.status == 1 and re.search(r"(?i)memlock|locked", e.said), e.said
