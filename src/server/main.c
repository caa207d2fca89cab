/* SPDX-License-Identifier: MIT */
/*
 * main.c - the command line's first and last word: what to do, and the exit status.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "options_parse.h"
#include "registry.h"
#include "sandbox.h"
#include "server.h"
#include "status.h"
#include "util.h"

static void main_print_version(void)
{
    char sandbox[64];

    sandbox_version(sandbox, sizeof(sandbox));
    printf("bivalve %s\n", PACKAGE_VERSION);
    registry_print_versions();
    printf("backend by default: %s\nseccomp filter: %s\ndataset: %s\n", BIVALVE_DEFAULT_BACKEND,
           sandbox, BIVALVE_DATADIR "/dataset.json");
}

/*
 * Without this a closed stdin, stdout or stderr would become somebody's connection, and hear what
 * is logged.
 */
static void main_hold_standard_fds(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/* What has been printed has arrived, or the exit status says so. */
static int main_flush(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    perror("bivalve: cannot write the output");
    return 1;
}

int main(int argc, char **argv)
{
    static struct options o; /* workers live inside main(): off the stack, it costs them nothing */
    char error[MAX(OPTIONS_ERROR_MAX, BACKEND_TEXT_MAX)];

    main_hold_standard_fds();
    signal(SIGCHLD,
           SIG_DFL); /* who starts us may have ignored it, and then there is no child to wait for */
    if (registry_check(error) < 0) {
        fprintf(stderr, "bivalve: %s\n", error);
        return 1;
    }
    if (options_load(argc, argv, &o, error) < 0) {
        fprintf(stderr, "bivalve: %s\n", error);
        return 2;
    }
    switch (o.action) {
    case OPTIONS_HELP: options_print_help(stdout); return main_flush(0);
    case OPTIONS_VERSION: main_print_version(); return main_flush(0);
    case OPTIONS_PROBE: return main_flush(registry_print_probe());
    case OPTIONS_TEST: return main_flush(server_test(&o));
    case OPTIONS_STATUS: return main_flush(status_print(&o.admin, o.watch));
    case OPTIONS_SERVE: break;
    }
    return server_run(&o);
}
