/* SPDX-License-Identifier: MIT */
/*
 * main.c - the command line's first and last word: what to do, and the exit status.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http_scan.h"
#include "options_parse.h"
#include "registry.h"
#include "compress.h"
#include "sandbox.h"
#include "server.h"
#include "status.h"
#include "tls.h"
#include "util.h"

static void main_print_version(void)
{
    char sandbox[64], tls[128], compression[128];

    sandbox_version(sandbox, sizeof(sandbox));
    tls_version(tls, sizeof(tls));
    compress_version(compression, sizeof(compression));
    printf("bivalve %s\n", PACKAGE_VERSION);
    registry_print_versions();
    printf("backend by default: %s\nrequest heads: scanned by %s\n", BIVALVE_DEFAULT_BACKEND,
           http_scan_name());
    printf("seccomp filter: %s\nTLS: %s\ncompression: %s\ndataset: %s\n", sandbox, tls, compression,
           BIVALVE_DATADIR "/dataset.json");
}

/* --make-test-cert. The exit status. */
static int main_make_cert(const char *dir)
{
    char cert[PATH_MAX], key[PATH_MAX], error[TLS_ERROR_MAX];
    int rc = 0;

    if (snprintf(cert, sizeof(cert), "%s/cert.pem", dir) >= (int)sizeof(cert) ||
        snprintf(key, sizeof(key), "%s/key.pem", dir) >= (int)sizeof(key)) {
        fprintf(stderr, "bivalve: --make-test-cert: the path is too long\n");
        return 1;
    }
    if (mkdir(dir, 0755) < 0 && errno != EEXIST) {
        snprintf(error, sizeof(error), "%s: %s", dir, strerror(errno));
        rc = -1;
    }
    if (rc < 0 || tls_make_cert(cert, key, "DNS:localhost,IP:127.0.0.1,IP:::1", false, error) < 0) {
        fprintf(stderr, "bivalve: --make-test-cert: %s\n", error);
        return 1;
    }
    printf("%s and %s are made, for localhost, good for 90 days. They are for trials: nobody but "
           "their maker vouches for them.\n"
           "  bivalve --tls-listen 127.0.0.1:8443 --tls-cert %s --tls-key %s\n"
           "  curl --cacert %s https://localhost:8443/pipeline\n",
           cert, key, cert, key, cert);
    return 0;
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
    case OPTIONS_MAKE_CERT: return main_flush(main_make_cert(o.make_cert));
    case OPTIONS_PROBE: return main_flush(registry_print_probe());
    case OPTIONS_TEST: return main_flush(server_test(&o));
    case OPTIONS_STATUS: return main_flush(status_print(&o.admin, o.watch));
    case OPTIONS_SERVE: break;
    }
    return server_run(argc, argv, &o);
}
