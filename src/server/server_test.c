/* SPDX-License-Identifier: MIT */
/*
 * server_test.c - --test: what can be checked without serving.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "dataset.h"
#include "listener.h"
#include "privdrop.h"
#include "server.h"
#include "server_setup.h"
#include "tls.h"

/* May it serve as this user? What only root can do is no mistake of who tries the options. */
static int server_test_user(const struct options *o, char *error)
{
    struct privdrop priv;
    int rc = privdrop_resolve(&priv, o->user, o->group, o->allow_root, error);

    return rc == -EPERM && geteuid() != 0 ? 0 : rc;
}

int server_test(const struct options *o)
{
    char error[MAX(MAX(DATASET_ERROR_MAX, LISTENER_ERROR_MAX),
                   MAX(PRIVDROP_ERROR_MAX, MAX(SERVER_FILES_ERROR_MAX, TLS_ERROR_MAX)))];
    struct tls_context *tls = NULL;
    struct dataset data;
    struct static_dir files = {.fd = -1};
    struct file_cache *cache = NULL;
    int rc = server_open_static(o, &files, &cache, error);

    file_cache_free(cache);
    static_dir_destroy(&files);
    if (rc == 0)
        rc = dataset_load(&data, o->dataset, error);
    if (rc == 0) {
        for (unsigned i = 0; i < o->listen_count && rc == 0; i++)
            rc = listener_check(&o->listen[i], error);
        if (rc == 0 && o->admin.len)
            rc = listener_check(&o->admin, error);
        if (rc == 0)
            rc = server_test_user(o, error);
        if (rc == 0 && o->tls.pair_count)
            rc = tls_context_open(&tls, &o->tls, NULL, error);
        tls_context_free(tls);
        if (rc == 0)
            printf("configuration ok: %u address%s, %u records\n", o->listen_count,
                   o->listen_count == 1 ? "" : "es", data.count);
        dataset_free(&data);
    }
    if (rc < 0)
        fprintf(stderr, "bivalve: %s\n", error);
    return rc < 0 ? 1 : 0;
}
