/* SPDX-License-Identifier: MIT */
/*
 * sys.h - what only Linux, or not every system, has: one name for each, and what is done where
 * configure does not find it. No other file of the core or of a backend that is not Linux's own
 * asks what there is. Errors as those of the calls: -1 and errno, unless it is said otherwise.
 */
#ifndef BIVALVE_SYS_H
#define BIVALVE_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_SYS_SENDFILE_H
#include <sys/sendfile.h>
#endif

/* ---- constants ---- */

/* The clocks whose resolution is a timer tick, and which cost next to nothing. */
#if HAVE_DECL_CLOCK_MONOTONIC_COARSE
#define SYS_CLOCK_MONOTONIC CLOCK_MONOTONIC_COARSE
#define SYS_CLOCK_REALTIME  CLOCK_REALTIME_COARSE
#else
#define SYS_CLOCK_MONOTONIC CLOCK_MONOTONIC
#define SYS_CLOCK_REALTIME  CLOCK_REALTIME
#endif

/* send(2): more follows at once, no packet need be sent for this. */
#if HAVE_DECL_MSG_MORE
#define SYS_MSG_MORE MSG_MORE
#else
#define SYS_MSG_MORE 0
#endif

/* open(2): a directory as a place to look things up from, which need not be readable. */
#if HAVE_DECL_O_PATH
#define SYS_O_PATH O_PATH
#else
#define SYS_O_PATH O_RDONLY
#endif

/* mmap(2): no swap space is set aside for what may never be written to. */
#if HAVE_DECL_MAP_NORESERVE
#define SYS_MAP_NORESERVE MAP_NORESERVE
#else
#define SYS_MAP_NORESERVE 0
#endif

/* ---- waiting ---- */

/*
 * ppoll(2). With _FORTIFY_SOURCE glibc before 2.39 calls the ppoll() of a 32-bit time_t even where
 * _TIME_BITS=64 was asked for (on machines whose own is of 32 bits): it would see whole seconds only.
 */
#if defined(_TIME_BITS) && defined(__TIMESIZE) && __TIMESIZE == 32
int sys_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *limit,
              const sigset_t *mask) __asm__("__ppoll64");
#else
static inline int sys_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *limit,
                            const sigset_t *mask)
{
    return ppoll(fds, count, limit, mask);
}
#endif

/* ---- descriptors ---- */

/* accept(2) of a non-blocking socket, closed on exec. */
#ifdef HAVE_ACCEPT4
static inline int sys_accept(int fd)
{
    return accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
#else
int sys_accept(int fd);
#endif

/* socket(2), closed on exec. */
int sys_socket(int family, int type, bool nonblocking);

/* socketpair(2), both closed on exec. */
int sys_socketpair(int type, bool nonblocking, int fds[2]);

/* pipe(2), both ends closed on exec. */
int sys_pipe(int fds[2]);

/*
 * Send up to `len` bytes of `file`, from `offset` on, to the socket `fd`. The bytes that were, 0 at
 * the end of the file.
 */
#ifdef HAVE_SYS_SENDFILE_H
static inline ssize_t sys_send_file(int fd, int file, off_t offset, size_t len)
{
    return sendfile(fd, file, &offset, len);
}
#else
ssize_t sys_send_file(int fd, int file, off_t offset, size_t len);
#endif

/* pread(2) of what is in memory, without a wait: else EAGAIN. ENOSYS: nobody can tell. */
ssize_t sys_read_cached(int file, void *buf, size_t len, off_t offset);

/*
 * TCP_NOTSENT_LOWAT: writability is told only below so many unsent bytes. Where there is no such
 * option nothing is bounded: ENOPROTOOPT.
 */
int sys_limit_unsent(int fd, int bytes);

/* ---- memory ---- */

/* Tell the kernel that memory is used in small pieces. May do nothing. */
void sys_no_huge_pages(void *p, size_t bytes);

/* Whole pages of private anonymous memory are zero again, and given back. */
int sys_discard(void *p, size_t bytes);

/* ---- the process ---- */

/*
 * From now on `signo` comes when the process that started this one has ended. Where nobody can tell,
 * it comes each second: its handler compares getppid(2).
 */
void sys_on_orphaned(int signo);

/* What ps shows, at most 15 bytes of it. May do nothing. */
void sys_name_process(const char *name);

/* No core dump, and nobody else who may look into this process. */
int sys_not_dumpable(void);

/* No program that this process executes gets privileges. Does nothing where there is no such promise. */
int sys_no_new_privileges(void);

#endif
