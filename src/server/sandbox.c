/* SPDX-License-Identifier: MIT */
/*
 * sandbox.c - the seccomp filter of a worker, seccomp(2), by libseccomp.
 *
 * A worker needs few system calls once its backend is open, and none of them makes a socket or
 * starts a process; none opens a file, unless it is to serve files. What is hot has no condition on
 * its arguments, so that the kernel (5.11 and later) answers it from a bitmap without running the
 * filter. Requests inside an io_uring are not seen by any filter: there the absence of privileges
 * and the fd limit have to do.
 *
 * A call that is not on the list fails with EPERM rather than killing: a new libc may try something
 * unforeseen and fall back, and a server that lives with an error is better than one that is down.
 */
#include "config.h"

#include "sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

#if HAVE_LIBSECCOMP

#include <fcntl.h>
#include <seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Which argument of clone(2) its flags are. */
#ifdef __s390__
#define SANDBOX_CLONE_FLAGS SCMP_A1
#else
#define SANDBOX_CLONE_FLAGS SCMP_A0
#endif

/* Whatever the backend. */
static const int sandbox_calls[] = {
    /* connections */
    SCMP_SYS(accept4),
    SCMP_SYS(close),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockname),
    SCMP_SYS(getsockopt),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(setsockopt),
    SCMP_SYS(shutdown),
    /* the log, the report to the supervisor, an eventfd */
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    /* memory; with PROT_EXEC neither mmap nor mprotect, see below */
    SCMP_SYS(brk),
    SCMP_SYS(madvise),
    SCMP_SYS(mremap),
    SCMP_SYS(munmap),
    /* time and signals */
    SCMP_SYS(alarm),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(nanosleep),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(setitimer), /* alarm() where there is no such call */
    SCMP_SYS(sigaltstack),
    SCMP_SYS(time),
    /* the end, orderly or by abort() */
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(getpid),
    SCMP_SYS(getppid), /* is a signal the supervisor's death? */
    SCMP_SYS(gettid),
    /* what a libc does on its own */
    SCMP_SYS(fstat),
    SCMP_SYS(futex),
    SCMP_SYS(getrandom),
    SCMP_SYS(lseek),
    SCMP_SYS(newfstatat),
    SCMP_SYS(sched_yield),
    SCMP_SYS(uname),
/* the same on 32-bit machines, where what has a time or an offset in it has another call for a wide one */
#ifdef SYS_clock_gettime64
    SYS_clock_gettime64,
    SYS_clock_nanosleep_time64,
    SYS_futex_time64,
    SYS_ppoll_time64,
    SYS_statx, /* fstat() with a wide time_t */
#endif
#ifdef SYS_socketcall /* by it i386 has calls of their own for these */
    SCMP_SYS(recv),
    SCMP_SYS(send),
#endif
#ifdef SYS_sigreturn
    SYS_sigreturn,
#endif
#ifdef SYS_fstat64
    SYS_fstat64,
#endif
#ifdef SYS_fstatat64
    SYS_fstatat64,
#endif
#ifdef SYS__llseek
    SYS__llseek,
#endif
#ifdef SYS_sendfile64
    SYS_sendfile64,
#endif
};

/*
 * What reads files needs besides openat. openat2 takes its flags by a pointer, which no filter looks
 * behind: it is let through as it is.
 */
static const int sandbox_calls_files[] = {
    SCMP_SYS(dup), SCMP_SYS(pread64), SCMP_SYS(preadv2), SCMP_SYS(rseq), SCMP_SYS(set_robust_list),
#ifdef SYS_openat2
    SYS_openat2,
#endif
};

/* Nobody but an intruder makes these. */
static const int sandbox_calls_fatal[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(bpf),
};

static int sandbox_add(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int rc = seccomp_rule_add(filter, action, calls[i], 0);
        if (rc < 0 && rc != -EDOM) /* not a call of this architecture */
            return rc;
    }
    return 0;
}

static int sandbox_rules(scmp_filter_ctx filter, const int *syscalls, bool reads_files)
{
    const int mappers[] = {
        SCMP_SYS(mprotect),
#ifdef SYS_mmap2
        SYS_mmap2, /* where it is, mmap() calls it; old mmap has its arguments in memory on i386 */
#else
        SCMP_SYS(mmap),
#endif
    };
#ifdef SYS_fcntl64
    const int fcntl_call = SYS_fcntl64;
#else
    const int fcntl_call = SCMP_SYS(fcntl);
#endif
    int rc = sandbox_add(filter, SCMP_ACT_ALLOW, sandbox_calls, ARRAY_LEN(sandbox_calls));

    size_t count = 0;

    while (syscalls[count] >= 0)
        count++;
    if (rc == 0)
        rc = sandbox_add(filter, SCMP_ACT_ALLOW, syscalls, count);
    if (rc == 0)
        rc = sandbox_add(filter, SCMP_ACT_KILL_PROCESS, sandbox_calls_fatal,
                         ARRAY_LEN(sandbox_calls_fatal));
    /* No memory that is code: neither new nor changed. */
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(mappers); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, mappers[i], 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* abort() signals itself, nobody else. */
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
    /* stdio asks whether it writes to a terminal; fcntl only to look at and set flags. */
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, fcntl_call, 1,
                              SCMP_A1(SCMP_CMP_LE, 4 /* F_SETFL */, 0));
    /* O_CREAT and O_TRUNC change files whatever the access mode. */
    if (rc == 0 && reads_files)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
    if (rc == 0 && reads_files)
        rc = sandbox_add(filter, SCMP_ACT_ALLOW, sandbox_calls_files,
                         ARRAY_LEN(sandbox_calls_files));
    /*
     * Threads that read (readers.c), and no processes. clone3 has its flags in memory: without it
     * libc falls back to clone.
     */
    if (rc == 0 && reads_files)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (rc == 0 && reads_files)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                              SANDBOX_CLONE_FLAGS(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    return rc;
}

bool sandbox_available(void)
{
    return true;
}

void sandbox_version(char *out, size_t out_size)
{
    const struct scmp_version *v = seccomp_version();

    snprintf(out, out_size, "libseccomp %u.%u.%u", v->major, v->minor, v->micro);
}

int sandbox_enter(const int *syscalls, bool reads_files, char *error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int rc;

    if (!filter) {
        snprintf(error, SANDBOX_ERROR_MAX, "no memory for the seccomp filter");
        return -ENOMEM;
    }
    /*
     * Without this older kernels slow every branch of a filtered process down (speculative store
     * bypass).
     */
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    rc = sandbox_rules(filter, syscalls, reads_files);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    if (rc < 0)
        snprintf(error, SANDBOX_ERROR_MAX,
                 "cannot install the seccomp filter: %s (does the kernel have "
                 "CONFIG_SECCOMP_FILTER? --no-seccomp goes without)",
                 strerror(-rc));
    return rc;
}

#else

bool sandbox_available(void)
{
    return false;
}

void sandbox_version(char *out, size_t out_size)
{
    snprintf(out, out_size, "none");
}

int sandbox_enter(const int *syscalls, bool reads_files, char *error)
{
    (void)syscalls;
    (void)reads_files;
    snprintf(error, SANDBOX_ERROR_MAX, "this bivalve was built without libseccomp");
    return -ENOTSUP;
}

#endif
