/* SPDX-License-Identifier: MIT */
/*
 * view_routes.c - what the view inside answers: /metrics, /healthz, /status, and nothing else.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "view.h"

static const struct view *view_of(const struct request *r)
{
    return request_context(r);
}

/* A whole answer of any length. */
static int view_answer(struct request *r, const char *type, const char *text, size_t len)
{
    const struct response_field fields[] = {{"Content-Type", type}, {"Cache-Control", "no-store"}};
    int rc = request_respond(r, &(struct request_response){.status = 200,
                                                           .has_length = true,
                                                           .length = len,
                                                           .fields = fields,
                                                           .field_count = ARRAY_LEN(fields)});

    if (rc == 0)
        rc = request_write(r, text, len);
    return rc < 0 ? rc : request_end(r);
}

static int view_metrics_finish(struct request *r)
{
    struct text t = {0};

    view_metrics(view_of(r), &t);
    int rc = t.failed ? -ENOMEM
                      : view_answer(r, "text/plain; version=0.0.4; charset=utf-8", t.data, t.len);
    text_free(&t);
    return rc;
}

static int view_status_finish(struct request *r)
{
    char *text = view_status(view_of(r));
    int rc = text ? view_answer(r, "application/json", text, strlen(text)) : -ENOMEM;

    free(text);
    return rc;
}

static int view_health_finish(struct request *r)
{
    const struct board *b = view_of(r)->board;

    if (board_is_healthy(b))
        return request_reply(r, 200, RESPONSE_TEXT, "ok\n", 3);
    char why[32];
    int len = snprintf(why, sizeof(why), "%s\n",
                       b->state == BOARD_SERVING ? "no worker serves" : board_state_name(b));
    return request_reply(r, 503, RESPONSE_TEXT, why, (size_t)len);
}

#define VIEW_METHODS (1u << HTTP_GET | 1u << HTTP_HEAD | 1u << HTTP_OPTIONS)
#define VIEW_ALLOW   "GET, HEAD, OPTIONS"

static const struct handler view_metrics_handler = {
    .allow = VIEW_ALLOW, .methods = VIEW_METHODS, .finish = view_metrics_finish};
static const struct handler view_status_handler = {
    .allow = VIEW_ALLOW, .methods = VIEW_METHODS, .finish = view_status_finish};
static const struct handler view_health_handler = {
    .allow = VIEW_ALLOW, .methods = VIEW_METHODS, .finish = view_health_finish};

static const struct handler *view_find(const char *path, size_t len)
{
    static const struct {
        const char *path;
        const struct handler *handler;
    } table[] = {
        {"/metrics", &view_metrics_handler},
        {"/healthz", &view_health_handler},
        {"/status", &view_status_handler},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (len == strlen(table[i].path) && memcmp(path, table[i].path, len) == 0)
            return table[i].handler;
    return NULL;
}

const struct routes view_routes = {.find = view_find, .allow = VIEW_ALLOW};
