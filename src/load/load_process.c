/* SPDX-License-Identifier: MIT */
/*
 * load_process.c - see load_process.h.
 */
#include "config.h"

#include "load_process.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "loop.h"

#define PROCESS_ABORT_US 2000000 /* how long a backend may take to let go of what was aborted */

static struct backend *volatile process_backend;
static volatile sig_atomic_t process_stop;

static void process_on_stop(int number)
{
    (void)number;
    process_stop = 1;
    if (process_backend)
        process_backend->ops->wake(process_backend);
}

/* SIGINT reaches the whole group: who started this process decides what it means. */
static void process_signals(void)
{
    struct sigaction action = {.sa_handler = process_on_stop};
    sigset_t none;

    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* On a CPU of its own, of those that it may use; without, the scheduler has it. */
static void process_pin(unsigned index)
{
    cpu_set_t all, one;
    int count, skip;

    if (sched_getaffinity(0, sizeof(all), &all) < 0 || (count = CPU_COUNT(&all)) == 0)
        return;
    skip = (int)(index % (unsigned)count);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all) || skip-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof(one), &one);
        return;
    }
}

static int process_broke(struct load_results *r, const struct load_process *p, int rc)
{
    snprintf(r->error, sizeof(r->error), "the %s backend broke: %s", p->backend.ops->name,
             strerror(-rc));
    return 1;
}

/* Load until everything is over, and let go of all connections. */
static int process_loop(const struct load_process *p, struct load_client *c, struct load_results *r)
{
    int rc = 0;

    while (rc == 0 && !load_client_done(c)) {
        rc = loop_iterate(&c->loop, -1);
        if (process_stop)
            load_client_stop(c);
    }
    if (rc == 0)
        load_client_abort(c);
    uint64_t limit_us = load_client_now(c) + PROCESS_ABORT_US;
    while (rc == 0 && c->loop.slots.used > 0) {
        if (load_client_now(c) > limit_us)
            rc = -ETIMEDOUT;
        else
            rc = loop_iterate(&c->loop, 10000);
    }
    return rc < 0 ? process_broke(r, p, rc) : 0;
}

/* The idle connections, before the load. */
static int process_gather(struct load_client *c, struct load_results *r,
                          const struct load_process *p)
{
    int rc = 0, gathered = 1;

    if (c->plan.idle)
        load_client_gather(c);
    while (c->plan.idle && rc == 0 && !process_stop && (gathered = load_client_gathered(c)) == 0)
        rc = loop_iterate(&c->loop, -1);
    if (rc < 0)
        return process_broke(r, p, rc);
    if (gathered > 0 && !process_stop)
        return 0;
    const char *why = "";
    for (unsigned i = 0; i < LOAD_FAILURE_KINDS && !*why; i++)
        why = r->first[i];
    int len = snprintf(r->error, BACKEND_TEXT_MAX - LOAD_FIRST_MAX,
                       "--idle: %u of %u connections were answered%s", (unsigned)r->idle,
                       c->plan.idle, *why ? "; " : "");
    memcpy(r->error + len, why, strlen(why) + 1);
    return 1;
}

int load_process_run(const struct load_process *p)
{
    struct load_results *r = &p->shared->results[p->index];
    static struct load_client c;
    static struct stats stats;
    char byte = 0;

    process_signals();
    process_pin(p->index);
    prctl(PR_SET_TIMERSLACK, 1UL); /* nanosecond: timers are as exact as the kernel can */
    int rc =
        load_client_init(&c, &p->plan, p->backend.ops, p->backend.variant, &stats, r, r->error);
    if (rc < 0)
        return 1;
    c.loop.be->ops->describe(c.loop.be, r->features, sizeof(r->features));
    process_backend = c.loop.be;
    if (process_gather(&c, r, p) != 0)
        return 1;
    if (write(p->ready, &byte, 1) != 1)
        return 1;
    close(p->ready);
    while (read(p->gate, &byte, 1) < 0 && errno == EINTR)
        ;
    load_client_start(&c, p->shared->start_us);
    rc = process_loop(p, &c, r);
    process_backend = NULL;
    signal(SIGTERM, SIG_IGN);
    load_client_destroy(&c);
    return rc;
}
