/* SPDX-License-Identifier: MIT */
/*
 * readers.c - see readers.h.
 *
 * A connection asks for one range at a time, so there are no more jobs than connections. The loop's
 * thread makes and frees jobs; a reader only moves them from one list to the other.
 */
#include "config.h"

#include "readers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "util.h"

#define READERS_CHUNK 131072 /* bytes of one read */
#define READERS_STACK 262144

struct reader_job {
    struct reader_job *next;
    int fd;
    uint32_t gen;
    int file; /* the job's own */
    off_t offset;
    size_t len;
};

struct readers {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct reader_job *todo, **todo_tail;
    struct reader_job *done;
    bool stop;
    unsigned idle; /* threads that wait for work */

    /* of the loop's thread alone */
    unsigned threads, threads_max;
    unsigned asked; /* and not collected */
    void (*wake)(void *arg);
    void *arg;
    pthread_t thread[READERS_MAX];
};

/* Through memory that nobody looks at, into the page cache. */
static void readers_read(const struct reader_job *job, char *buffer)
{
    size_t at = 0;

    while (at < job->len) {
        ssize_t n =
            pread(job->file, buffer, MIN(job->len - at, READERS_CHUNK), job->offset + (off_t)at);
        if (n <= 0 && !(n < 0 && errno == EINTR))
            return;
        at += (size_t)MAX(n, 0);
    }
}

static void *readers_run(void *arg)
{
    struct readers *r = arg;
    char *buffer = malloc(READERS_CHUNK);

    pthread_mutex_lock(&r->lock);
    while (!r->stop) {
        struct reader_job *job = r->todo;
        if (!job) {
            r->idle++;
            pthread_cond_wait(&r->work, &r->lock);
            r->idle--;
            continue;
        }
        r->todo = job->next;
        if (!r->todo)
            r->todo_tail = &r->todo;
        pthread_mutex_unlock(&r->lock);
        if (likely(buffer != NULL)) /* else the send waits for the disk */
            readers_read(job, buffer);
        pthread_mutex_lock(&r->lock);
        job->next = r->done;
        r->done = job;
        r->wake(r->arg);
    }
    pthread_mutex_unlock(&r->lock);
    free(buffer);
    return NULL;
}

struct readers *readers_new(unsigned threads, void (*wake)(void *arg), void *arg)
{
    struct readers *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->work, NULL);
    r->todo_tail = &r->todo;
    r->threads_max = MIN(threads, READERS_MAX);
    r->wake = wake;
    r->arg = arg;
    return r;
}

static void readers_drop(struct reader_job *jobs)
{
    while (jobs) {
        struct reader_job *next = jobs->next;
        close(jobs->file);
        free(jobs);
        jobs = next;
    }
}

void readers_free(struct readers *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_broadcast(&r->work);
    pthread_mutex_unlock(&r->lock);
    for (unsigned i = 0; i < r->threads; i++)
        pthread_join(r->thread[i], NULL);
    readers_drop(r->todo);
    readers_drop(r->done);
    pthread_cond_destroy(&r->work);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* One more; no signal is for it. False: the system has none to give. */
static bool readers_start(struct readers *r)
{
    pthread_attr_t attr;
    sigset_t all, before;

    if (pthread_attr_init(&attr))
        return false;
    pthread_attr_setstacksize(&attr, READERS_STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&r->thread[r->threads], &attr, readers_run, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    r->threads += rc == 0;
    return rc == 0;
}

bool readers_ask(struct readers *r, int fd, uint32_t gen, int file, off_t offset, size_t len)
{
    struct reader_job *job = malloc(sizeof(*job));

    if (!job)
        return false;
    *job =
        (struct reader_job){.fd = fd, .gen = gen, .file = dup(file), .offset = offset, .len = len};
    pthread_mutex_lock(&r->lock);
    bool busy = (r->idle == 0 || r->todo) && r->threads < r->threads_max;
    pthread_mutex_unlock(&r->lock);
    if (job->file < 0 || (busy && !readers_start(r) && r->threads == 0)) {
        if (job->file >= 0)
            close(job->file);
        free(job);
        return false;
    }
    pthread_mutex_lock(&r->lock);
    *r->todo_tail = job;
    r->todo_tail = &job->next;
    pthread_cond_signal(&r->work);
    pthread_mutex_unlock(&r->lock);
    r->asked++;
    return true;
}

unsigned readers_collect(struct readers *r, void (*done)(void *arg, int fd, uint32_t gen),
                         void *arg)
{
    struct reader_job *jobs;

    pthread_mutex_lock(&r->lock);
    jobs = r->done;
    r->done = NULL;
    pthread_mutex_unlock(&r->lock);
    while (jobs) {
        struct reader_job *job = jobs;
        jobs = job->next;
        close(job->file);
        r->asked--;
        done(arg, job->fd, job->gen);
        free(job);
    }
    return r->asked;
}
