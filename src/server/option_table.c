/* SPDX-License-Identifier: MIT */
/*
 * option_table.c - see option_table.h.
 */
#include "config.h"

#include "option_table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "compress.h"
#include "file_cache.h"
#include "options.h"
#include "readers.h"
#include "util.h"

#define AT(field) offsetof(struct options, field)
#define MIB       (1024u * 1024)
#define GIB       (1024u * 1024 * 1024)

/* clang-format off */
#define SECONDS(in, text, field) \
    .section = in, .name = text, .kind = OPTION_SECONDS, .at = AT(set.field), \
    .max = OPTION_SECONDS_MAX, .arg = "S"
#define SIZE(in, text, field, least, most) \
    .section = in, .name = text, .kind = OPTION_SIZE32, .at = AT(set.field), .min = least, \
    .max = most, .arg = "N"
#define COUNT(in, text, field, least, most) \
    .section = in, .name = text, .kind = OPTION_COUNT, .at = AT(set.field), .min = least, \
    .max = most, .arg = "N"
#define ACTION(text, key, action) \
    .section = OPTION_ACTIONS, .name = text, .letter = key, .line_only = true, \
    .kind = OPTION_ACTION, .min = action

const struct option_section_text option_sections[OPTION_SECTIONS] = {
    [OPTION_LISTENING] = {"Listening", ""},
    [OPTION_TLS] = {"TLS", ""},
    [OPTION_BACKENDS] = {"Backend", ""},
    [OPTION_CONTENT] = {"Content and log", ""},
    [OPTION_ACCESS_LOG] = {"Access log", ""},
    [OPTION_VIEW] = {"The view inside", ""},
    [OPTION_TIME] = {"Time limits",
                     "Each is counted by the counter in parentheses; see\n"
                     ".Dv SIGUSR1 .\n"
                     "They are up to 128 milliseconds late and never early.\n"},
    [OPTION_SIZES] = {"Size limits", ""},
    [OPTION_PRIVILEGES] = {"Privileges", ""},
    [OPTION_OTHER] = {"Other", ""},
    [OPTION_ACTIONS] = {"On the command line alone", ""},
};

const struct option_spec option_table[] = {
    /* ---- Listening ---- */
    {.section = OPTION_LISTENING, .name = "listen", .letter = 'l', .kind = OPTION_LISTEN,
     .arg = "ADDRESS",
     .preset = "127.0.0.1:8080",
     .help = "IPV4:PORT, [IPV6]:PORT, unix:PATH, unix:@NAME or fd:NAME; repeatable",
     .man = "Listen on\n"
            ".Ar address :\n"
            ".Ar IPV4 : Ns Ar port ,\n"
            ".Li \\&[ Ns Ar IPV6 Ns Li \\&]: Ns Ar port ,\n"
            ".Li unix: Ns Ar path\n"
            "or\n"
            ".Li unix:@ Ns Ar name ,\n"
            "a name in the abstract namespace of\n"
            ".Xr unix 7 .\n"
            "May be given more than once.\n"
            "Port 0 takes a free port, which the first line of the log names.\n"
            "An IPv6 address is that alone:\n"
            ".Li [::]\n"
            "does not take IPv4 connections.\n"
            "Each worker has a listener of its own on a TCP address\n"
            ".Pq Dv SO_REUSEPORT ;\n"
            "a second server on the same address is refused all the same.\n"
            "A unix socket is shared by all workers.\n"
            "Everybody who may reach its path can connect, as to a TCP port.\n"
            "A unix socket that a dead server left behind is replaced, one that is in use is\n"
            "not; it is removed at the end.\n"
            "Two servers that start at once do not take it from each other: the directory is\n"
            "locked meanwhile\n"
            ".Pq Xr flock 2 .\n"
            "An abstract name has no file and no permissions: everybody in the network\n"
            "namespace can connect.\n"
            ".Pp\n"
            "Sockets that a service manager hands over\n"
            ".Pq Ev LISTEN_FDS , No see Sx ENVIRONMENT\n"
            "are used in place of new ones where their address is\n"
            ".Ar address ;\n"
            ".Li fd: Ns Ar name\n"
            "means those of that name\n"
            ".Pq Li FileDescriptorName=\n"
            "wherever they listen.\n"
            "What is handed over and not meant by any option is served as well, and then nothing\n"
            "is listened on by default.\n"
            "All workers accept from the same socket there.\n"
            ".Pp\n"
            "With\n"
            ".Li ,tls\n"
            "behind it, it is an address of\n"
            ".Fl Fl tls-listen ,\n"
            "with\n"
            ".Li ,proxy\n"
            "one that proxies connect to, which say for whom: every connection begins with a\n"
            "header of the PROXY protocol, version 1 or 2, and the access log shows the client\n"
            "that it names; see\n"
            ".Fl Fl proxy-from .\n"},
    {.section = OPTION_LISTENING, .name = "proxy-from", .kind = OPTION_NET, .arg = "ADDRESS",
     .preset = "127.0.0.0/8 and ::1",
     .help = "proxies that are believed at addresses with ,proxy: ADDRESS or ADDRESS/BITS; repeatable",
     .man = "Proxies at these addresses, or in these networks\n"
            ".Pq Ar address Ns / Ns Ar bits ,\n"
            "may connect where\n"
            ".Li ,proxy\n"
            "stands behind the address of\n"
            ".Fl Fl listen ;\n"
            "everybody else's connections are closed there, as are those that do not begin with\n"
            "a header\n"
            ".Pq proxy_refused ;\n"
            "it has to be complete within\n"
            ".Fl Fl header-timeout .\n"
            "Who reaches a unix socket is believed.\n"
            "May be given more than once.\n"},
    {.section = OPTION_LISTENING, .name = "workers", .letter = 'w', .kind = OPTION_WORKERS,
     .at = AT(workers), .max = OPTIONS_WORKERS_MAX, .arg = "N|auto",
     .preset = "auto",
     .values = "auto 0 1 2",
     .help = "worker processes; 0: serve in this process",
     .man = "The number of workers, or\n"
            ".Cm auto\n"
            "for one for each CPU of the affinity mask, but no more than the quota of CPU time\n"
            "of the control group, rounded up; with less than there are CPUs they are not pinned.\n"
            "The start line says what was found.\n"
            "0 serves in the calling process, without a supervisor, for debuggers and\n"
            "profilers.\n"},
    {.section = OPTION_LISTENING, .name = "pin", .kind = OPTION_TRUE, .at = AT(pin),
     .preset = "pinned",
     .help = "pin each worker to a CPU"},
    {.section = OPTION_LISTENING, .name = "no-pin", .kind = OPTION_FALSE, .at = AT(pin),
     .help = "leave that to the scheduler",
     .man = "Pin each worker to a CPU, one after the other of the affinity mask, or leave\n"
            "that to the scheduler.\n"},

    /* ---- TLS ---- */
    {.section = OPTION_TLS, .name = "tls-listen", .kind = OPTION_LISTEN, .min = 1, .arg = "ADDRESS",
     .help = "the same as --listen, with TLS; repeatable",
     .man = "Listen on\n"
            ".Ar address ,\n"
            "written as for\n"
            ".Fl Fl listen ,\n"
            "and speak TLS 1.2 or 1.3 there: HTTP/1.1 alone, with AEAD ciphers and ephemeral\n"
            "keys, and neither compression, renegotiation nor early data.\n"
            "Whoever speaks HTTP without TLS there is told so, by a 400\n"
            ".Pq tls_plain .\n"
            "Clients can resume their sessions for an hour, with any of the workers.\n"
            "Handshakes that begin in one iteration of a worker's loop are limited, so that\n"
            "others are served meanwhile\n"
            ".Pq tls_deferred .\n"
            "The processes are closed to debuggers and leave no core\n"
            ".Pq Dv PR_SET_DUMPABLE ,\n"
            "since they have the keys.\n"},
    {.section = OPTION_TLS, .name = "tls-cert", .kind = OPTION_TLS_CERT, .arg = "FILE",
     .values = "@file",
     .help = "certificate and chain, PEM; repeatable: clients get that of the host they name",
     .man = "The server's certificate and those that lead from it to the root, PEM.\n"
            "May be given more than once: a client gets the one for the host that it names\n"
            ".Pq SNI ,\n"
            "the first if there is none.\n"
            "Two for the same host with different kinds of keys, ECDSA and RSA, serve clients\n"
            "that know only one of them.\n"},
    {.section = OPTION_TLS, .name = "tls-key", .kind = OPTION_TLS_KEY, .arg = "FILE",
     .values = "@file",
     .preset = "the key is in the file of the certificate",
     .help = "its private key, PEM; repeatable, in the order of --tls-cert",
     .man = "The private key of the certificate, PEM and without a password; as often as\n"
            ".Fl Fl tls-cert ,\n"
            "in the same order.\n"
            "It is read before privileges are given up: root alone need be able to.\n"
            "The log warns of a key that others may read.\n"},
    {.section = OPTION_TLS, .name = "tls-ocsp", .kind = OPTION_TLS_OCSP, .arg = "FILE",
     .values = "@file",
     .help = "an OCSP response to staple, DER; repeatable, in the order of --tls-cert",
     .man = "A response of the authority's OCSP server about the certificate, DER, that is sent\n"
            "with the handshake to clients that ask for it, until it is too old.\n"
            "One about another certificate, as an old one is after a renewal, is warned of and not sent,\n"
            "and so is one by which the authority does not know the certificate.\n"
            "Whose it is, is told by serial number and issuer; where the certificate of the issuer is not in\n"
            "the file of\n"
            ".Fl Fl tls-cert ,\n"
            "by the serial number alone, which is warned of, too.\n"
            "The first belongs to the first\n"
            ".Fl Fl tls-cert ,\n"
            "and so on.\n"
            "The server does not fetch it:\n"
            ".Xr openssl-ocsp 1\n"
            "does.\n"},
    {.section = OPTION_TLS, .name = "tls-min-version", .kind = OPTION_TLS_VERSION,
     .at = AT(tls.min_version), .arg = "VERSION",
     .preset = "1.2",
     .values = "1.2 1.3",
     .help = "the oldest version that is spoken: 1.2 or 1.3",
     .man = "The oldest version that is spoken,\n"
            ".Cm 1.2\n"
            "or\n"
            ".Cm 1.3 .\n"},
    {.section = OPTION_TLS, .name = "tls-ciphers", .kind = OPTION_TEXT, .at = AT(tls.ciphers),
     .arg = "NAMES",
     .preset = "AES-GCM and ChaCha20-Poly1305, AES-128 first",
     .help = "as openssl ciphers prints them, by colons, the best first",
     .man = "Ciphers as\n"
            ".Xr openssl-ciphers 1\n"
            "prints their names, separated by colons, the most wanted first; those of TLS 1.3,\n"
            "which begin with TLS_, among them.\n"
            "A version of which none is named is not spoken.\n"},
    {.section = OPTION_TLS, .name = "tls-ktls", .kind = OPTION_TLS_KTLS, .at = AT(tls.ktls),
     .arg = "WHEN",
     .preset = "off",
     .values = "off auto on",
     .help = "the kernel encrypts what is sent: off, auto (where it can) or on",
     .man = "Whether the kernel encrypts what is sent, from a connection's first answer on, files\n"
            "among it, which then go out by\n"
            ".Xr sendfile 2 :\n"
            ".Cm off ,\n"
            ".Cm auto\n"
            "for where the kernel has TLS\n"
            ".Pq Li modprobe tls ,\n"
            "or\n"
            ".Cm on :\n"
            "the server does not start without.\n"
            "OpenSSL goes on to decrypt what comes, and encrypts where the kernel refuses a\n"
            "connection\n"
            ".Pq tls_ktls_refused .\n"
            "A client that asks for new keys of such a connection is sent an alert: the kernel\n"
            "cannot change them.\n"},

    /* ---- Backend ---- */
    {.section = OPTION_BACKENDS, .name = "backend", .letter = 'b', .kind = OPTION_BACKEND,
     .at = AT(backend), .arg = "BACKEND",
     .preset = "what was configured at build time, normally auto",
     .values = "auto io_uring epoll libev",
     .help = "auto: the best that runs here, or one of those below",
     .man = "One of\n"
            ".Cm auto , io_uring , epoll , libev , libev:epoll , libev:poll\n"
            "and\n"
            ".Cm libev:select .\n"
            "A backend asked for by name is used, or the server does not start and says why.\n"
            "What stands behind libev's colon is the system call that it waits with.\n"
            "Behind io_uring's may stand\n"
            ".Ar key Ns = Ns Ar value\n"
            "pairs, separated by commas, to measure one of its features or to try the server\n"
            "without it:\n"
            ".Cm taskrun Ns = Ns Cm defer , coop\n"
            "or\n"
            ".Cm none\n"
            "is the best way to run completions that is tried;\n"
            ".Cm inc Ns = Ns Cm 0\n"
            "leaves out buffers that are filled piece by piece, and\n"
            ".Cm ring-fd Ns = Ns Cm 0\n"
            "the registered ring;\n"
            ".Cm restrict Ns = Ns Cm 0\n"
            "lets the ring take operations that the backend never submits\n"
            ".Po Cm 1\n"
            "refuses to start without\n"
            ".Pc ;\n"
            ".Cm entries , cq , buffers\n"
            "and\n"
            ".Cm buffer-bytes\n"
            "are the sizes of the two queues and of the pool of receive buffers, which begins with\n"
            "few and has so many at the most;\n"
            ".Cm submit-bytes\n"
            "is how many bytes of queued answers are submitted without waiting for the rest of\n"
            "those that are due.\n"
            "Behind epoll's colon, and among io_uring's pairs, may stand\n"
            ".Cm batch Ns = Ns Ar TIME ,\n"
            "such as\n"
            ".Li epoll:batch=50us :\n"
            "after an iteration with few events a worker lets requests gather for so long before\n"
            "it looks again.\n"
            "Requests that come meanwhile share a wake-up, and wait so much longer, at most;\n"
            "whether that saves CPU time depends on the load, and is to be measured.\n"
            ".Cm auto\n"
            "takes io_uring where it works, then epoll, then libev, and logs which and why.\n"
            "The backend is tried once, in a process that is thrown away; all workers use the\n"
            "same one for as long as the server runs.\n"},

    /* ---- Content and log ---- */
    {.section = OPTION_CONTENT, .name = "dataset", .letter = 'd', .kind = OPTION_TEXT,
     .at = AT(dataset), .arg = "FILE",
     .preset = "the dataset installed with the server",
     .values = "@file",
     .help = "records that /json serves",
     .man = "The records that\n"
            ".Li /json\n"
            "serves: a JSON array, each record with\n"
            ".Li id , name , category , price , quantity , active , tags\n"
            "and\n"
            ".Li rating\n"
            "(with\n"
            ".Li score\n"
            "and\n"
            ".Li count ) .\n"
            "A record with a missing or doubled field or one of the wrong type stops the\n"
            "start.\n"},
    {.section = OPTION_CONTENT, .name = "compress-level", .kind = OPTION_COUNT,
     .at = AT(compress_level), .max = COMPRESS_LEVEL_MAX,
     .arg = "N",
     .help = "of /json, where the client takes gzip, br or zstd: 1 fast to 9 small; 0: never",
     .man = "Compress what\n"
            ".Li /json\n"
            "answers where the request's Accept-Encoding takes gzip, br or zstd, as far as the\n"
            "server was built with them, anew for each request and piece by piece: from 1, fast,\n"
            "to 9, small; 0 never does.\n"
            "At most 32 answers of a worker are compressed at once, others are sent as they are\n"
            ".Pq limit_compress .\n"},
    {.section = OPTION_CONTENT, .name = "static", .kind = OPTION_TEXT, .at = AT(static_dir),
     .arg = "DIR",
     .values = "@dir",
     .help = "serve its files below /static/",
     .man = "Serve the files in\n"
            ".Ar dir\n"
            "and below it under\n"
            ".Li /static/ ,\n"
            "looked up and read anew for each request.\n"
            "Only regular files that the server's user may read are served; symbolic links\n"
            "are followed where they lead to a place in\n"
            ".Ar dir ,\n"
            "and nowhere else\n"
            ".Po\n"
            ".Xr openat2 2 ;\n"
            "a kernel older than 5.6 follows none\n"
            ".Pc .\n"
            ".Ar dir\n"
            "itself is opened once, before privileges are given up: after it has been\n"
            "exchanged for another of the same name the server has to be restarted.\n"
            "A file whose name has\n"
            ".Pa .br , .zst\n"
            "or\n"
            ".Pa .gz\n"
            "appended is sent instead of the one beside it where the request's\n"
            "Accept-Encoding says so, unless it is older.\n"
            "Content-Type comes from\n"
            ".Pa /etc/mime.types\n"
            "and a short list of the server's own.\n"
            "A connection can then have a file open besides itself, so\n"
            ".Fl Fl max-connections\n"
            "is at most half of what it is otherwise; where no file can be opened for want of\n"
            "descriptors the answer is 503\n"
            ".Pq limit_files .\n"},
    {COUNT(OPTION_CONTENT, "file-readers", file_readers, 0, READERS_MAX),
     .help = "threads of a worker that read files not in memory; 0: the worker waits for the disk",
     .man = "Threads of each worker that read what is to be sent of a file and is not in\n"
            "memory\n"
            ".Pq file_reads ,\n"
            "so that its other connections do not wait for the disk.\n"
            "They are started when they are needed first.\n"
            "The io_uring backend reads by its ring and starts none.\n"
            "0 has the worker itself wait.\n"},
    {COUNT(OPTION_CONTENT, "open-file-cache", open_file_cache, 0, FILE_CACHE_MAX),
     .help = "files of --static that a worker keeps open between requests; 0: none",
     .man = "Files of\n"
            ".Fl Fl static\n"
            "that each worker keeps open from one request to the next, at most; 0 opens and\n"
            "closes them for every request.\n"
            "A file that has been written to, renamed, removed or replaced is noticed by the next\n"
            "request all the same, and its name looked up anew; answers that are being sent go on\n"
            "with the file they began with.\n"
            "The file used least recently gives way to another\n"
            ".Pq file_cache_evictions .\n"
            "Names that do not exist are not kept, but that a file has no precompressed one\n"
            "beside it is.\n"
            "It can be at most half of the limit of open files.\n"},
    {SECONDS(OPTION_CONTENT, "open-file-cache-valid", open_file_cache_valid_ms),
     .help = "until the name of such a file is looked up anew; one not asked for is closed",
     .man = "So long after a file was opened its name is looked up anew even though the file is as\n"
            "it was: another directory, symbolic link or permission on the way to it, or a new\n"
            "precompressed file beside it, is served after that at the latest; 0 looks it up for\n"
            "every request.\n"
            "A file that nobody has asked for in that time is closed.\n"},
    {.section = OPTION_CONTENT, .name = "log-level", .kind = OPTION_LEVEL, .at = AT(log_level),
     .arg = "LEVEL",
     .preset = "notice",
     .values = "error warn notice info debug",
     .help = "error, warn, notice, info or debug",
     .man = ".Cm error , warn , notice , info\n"
            "or\n"
            ".Cm debug .\n"},

    /* ---- Access log ---- */
    {.section = OPTION_ACCESS_LOG, .name = "access-log", .kind = OPTION_TEXT,
     .at = AT(access_log), .arg = "FILE",
     .values = "@file",
     .help = "a line for each request: a path, - for standard output, or syslog",
     .man = "Write a line for each request to\n"
            ".Ar file ,\n"
            "which is made if need be and only added to, with\n"
            ".Cm -\n"
            "to standard output, with\n"
            ".Cm syslog\n"
            "to\n"
            ".Pa /dev/log .\n"
            "The user who serves has to be able to write to the file and its directory.\n"
            "A process of its own writes: a worker hands its lines over in memory, a mebibyte\n"
            "at most, and never waits; a line for which there is no room is dropped\n"
            ".Pq log_dropped .\n"
            "Lines wait for no more than a second.\n"
            "A request that was not answered because its client went away has the status 499;\n"
            "one that was refused before its head was complete shows no request.\n"
            "Controls, quotes, backslashes and bytes beyond 0x7e are escaped, and texts are\n"
            "cut\n"
            ".Pq ...\n"
            "so that a line has 4096 bytes at most.\n"
            "Without this option there is no such log.\n"},
    {.section = OPTION_ACCESS_LOG, .name = "access-log-format", .kind = OPTION_LOG_FORMAT,
     .at = AT(access_log_format), .arg = "FORMAT",
     .preset = "combined",
     .values = "combined combined-tls json",
     .help = "combined, combined-tls, or json for JSON lines",
     .man = ".Cm combined ,\n"
            "the format of Apache httpd and nginx;\n"
            ".Cm combined-tls ,\n"
            "the same with the version of TLS and the cipher behind it, or two dashes;\n"
            ".Cm json :\n"
            "an object a line, with\n"
            ".Li time , client , method , target , protocol , status , bytes\n"
            ".Pq of the body ,\n"
            ".Li duration_us , referer\n"
            "and\n"
            ".Li user_agent ,\n"
            "and where the connection has TLS\n"
            ".Li tls_protocol\n"
            "and\n"
            ".Li tls_cipher .\n"},

    /* ---- The view inside ---- */
    {.section = OPTION_VIEW, .name = "admin", .kind = OPTION_ADDRESS, .at = AT(admin),
     .arg = "ADDRESS",
     .help = "serve /metrics, /healthz and /status there: a loopback address or unix:PATH",
     .man = "Serve a view of the server at\n"
            ".Ar address ,\n"
            "written as for\n"
            ".Fl Fl listen :\n"
            ".Li /metrics\n"
            "is every counter in the text format of Prometheus,\n"
            ".Li /healthz\n"
            "answers 200, and 503 while the server starts, drains, or no worker serves,\n"
            ".Li /status\n"
            "is the same and more as JSON.\n"
            "Nothing else is there, and none of it at the addresses of\n"
            ".Fl Fl listen .\n"
            "A process of its own answers, also while all workers are busy or stuck; it runs\n"
            "with their privileges and their filter of system calls, but that it may open\n"
            "files to read them\n"
            ".Pq /proc .\n"
            "Counters go on when workers are started again.\n"
            "The address has to be one of loopback or a unix socket.\n"
            "Without this option there is no view.\n"},
    {.section = OPTION_VIEW, .name = "admin-remote", .kind = OPTION_TRUE, .at = AT(admin_remote),
     .help = "let that be an address that others reach: they see all of it",
     .man = "Let\n"
            ".Fl Fl admin\n"
            "be an address that others reach: they see all of it.\n"},

    /* ---- Time limits ---- */
    {SECONDS(OPTION_TIME, "header-timeout", header_timeout_ms),
     .help = "a request's first byte to the end of its head: 408",
     .man = "From the first byte of a request to the end of its head; then 408\n"
            ".Pq timeout_header .\n"
            "Also from accepting a connection to the end of its TLS handshake; then it is\n"
            "closed\n"
            ".Pq timeout_handshake .\n"},
    {SECONDS(OPTION_TIME, "body-timeout", body_timeout_ms),
     .help = "without progress in a body: 408",
     .man = "Without progress in a request's body, see\n"
            ".Fl Fl min-body-rate ;\n"
            "then 408\n"
            ".Pq timeout_body .\n"},
    {SECONDS(OPTION_TIME, "idle-timeout", idle_timeout_ms),
     .help = "between requests, and before the first",
     .man = "Between two requests, and before the first; then the connection is closed\n"
            ".Pq timeout_idle .\n"},
    {SECONDS(OPTION_TIME, "write-timeout", write_timeout_ms),
     .help = "since the client last took a byte of an answer",
     .man = "Since the kernel last took a byte of an answer; then the connection is reset\n"
            ".Pq timeout_write .\n"},
    {SECONDS(OPTION_TIME, "linger-timeout", linger_timeout_ms),
     .help = "for the client to close after our last byte",
     .man = "For the client to close after the last byte was sent\n"
            ".Pq timeout_linger .\n"},
    {SECONDS(OPTION_TIME, "worker-timeout", worker_timeout_ms),
     .help = "a worker that makes no progress for so long is started again; 0: never",
     .man = "A worker whose loop has not come round for so long, though it was woken, is killed\n"
            "and started again\n"
            ".Pq stuck ;\n"
            "the log has its last counters.\n"
            "An idle worker is woken four times meanwhile.\n"
            "To look at a worker with a debugger, set it to 0.\n"
            "It is not there with\n"
            ".Fl Fl workers Cm 0 .\n"},
    {SECONDS(OPTION_TIME, "drain-delay", drain_delay_ms),
     .help = "from SIGTERM to the drain: go on serving, while /healthz says 503",
     .man = "After\n"
            ".Dv SIGTERM\n"
            "go on as before for so long, while\n"
            ".Li /healthz\n"
            "of\n"
            ".Fl Fl admin\n"
            "says 503; then drain.\n"
            "Who balances the load needs a while to see it.\n"
            "A second signal ends the delay.\n"
            "It is not there with\n"
            ".Fl Fl workers Cm 0 .\n"},
    {SECONDS(OPTION_TIME, "drain-timeout", drain_timeout_ms),
     .help = "from SIGTERM to the end",
     .man = "From\n"
            ".Dv SIGTERM\n"
            "to the end; connections still open then are cut off.\n"
            "Clients that have connected and not been accepted yet are, first, as far as\n"
            ".Fl Fl max-connections\n"
            "allows\n"
            ".Pq limit_drain .\n"},

    /* ---- Size limits ---- */
    {SIZE(OPTION_SIZES, "max-uri-bytes", max_uri_bytes, 16, MIB),
     .help = "request target: 414",
     .man = "Request target; beyond it 414\n"
            ".Pq limit_uri .\n"},
    {SIZE(OPTION_SIZES, "max-header-bytes", max_header_bytes, 64, MIB),
     .help = "header section, and any line of it: 431",
     .man = "Header section, and any one line of it; beyond it 431\n"
            ".Pq limit_header .\n"
            "The same holds for the trailer section of a chunked body\n"
            ".Pq limit_trailer .\n"},
    {COUNT(OPTION_SIZES, "max-header-fields", max_header_fields, 1, 65535),
     .help = "fields of a header section: 431",
     .man = "Fields of a header section; beyond it 431\n"
            ".Pq limit_header .\n"},
    {.section = OPTION_SIZES, .name = "max-body-bytes", .kind = OPTION_SIZE64,
     .at = AT(set.max_body_bytes), .max = INT64_MAX, .arg = "N",
     .help = "request body: 413",
     .man = "Request body; beyond it 413, before the body is read where its length was\n"
            "announced\n"
            ".Pq limit_body .\n"
            "With 0 there is no limit for\n"
            ".Li /upload\n"
            "and\n"
            ".Li /echo ,\n"
            "which do not keep a body, and the default remains for the rest.\n"},
    {SIZE(OPTION_SIZES, "max-chunk-ext-bytes", max_chunk_ext_bytes, 0, MIB),
     .help = "extensions of one chunk: 400",
     .man = "Extensions of one chunk, and a sixteenth of what all chunks of a message may\n"
            "have together; beyond it 400\n"
            ".Pq limit_chunk_ext .\n"},
    {SIZE(OPTION_SIZES, "min-body-rate", min_body_rate, 0, GIB),
     .help = "bytes a second that renew --body-timeout; 0: any byte does",
     .man = "Bytes of a body that give a second of\n"
            ".Fl Fl body-timeout\n"
            "back; with 0 any byte gives back all of it.\n"},
    {COUNT(OPTION_SIZES, "max-requests", max_requests, 0, UINT32_MAX),
     .help = "requests of a connection; 0: no limit",
     .man = "Requests of a connection, which is closed after them\n"
            ".Pq limit_requests ;\n"
            "0 is no limit.\n"},
    {COUNT(OPTION_SIZES, "max-connections", max_connections, 0, SLOT_TABLE_MAX),
     .help = "per worker; 0: the fd limit less 64",
     .man = "Connections of each worker.\n"
            "Beyond them the worker stops accepting until one has closed\n"
            ".Pq accept_pauses .\n"
            "0 is the limit of open files less 64, half of that with\n"
            ".Fl Fl static ;\n"
            "it cannot be more.\n"
            "The server raises its soft limit of open files to the hard one, but not beyond\n"
            "1048576.\n"},
    {COUNT(OPTION_SIZES, "max-pipeline", max_pipeline, 1, 65535),
     .help = "requests of a connection answered before others have their share",
     .man = "Requests of one connection that are answered in an iteration of the loop; the\n"
            "others come next\n"
            ".Pq yields .\n"},
    {SIZE(OPTION_SIZES, "max-output-bytes", max_output_bytes, 1, GIB),
     .help = "output pending on a connection before its input waits",
     .man = "Output pending on a connection before its input has to wait\n"
            ".Pq paused .\n"},
    {.section = OPTION_SIZES, .name = "max-buffer-bytes", .kind = OPTION_SIZE64,
     .at = AT(set.max_buffer_bytes), .min = MIB, .max = INT64_MAX, .arg = "N",
     .help = "what all connections of a worker hold; then those without progress are closed",
     .man = "What all connections of a worker may hold together in buffers for their input and\n"
            "output.\n"
            "From three quarters of it on a connection is not read from while it has more than\n"
            "16 KiB of output pending; at it those connections are closed that hold some and\n"
            "are nearest to their deadline, having made no progress for longest\n"
            ".Pq limit_buffers .\n"
            "Connections that hold nothing are served throughout.\n"},
    {SIZE(OPTION_SIZES, "max-unsent-bytes", max_unsent_bytes, 0, GIB),
     .help = "unsent output of a connection that the kernel holds; 0: what it likes",
     .man = "How much output of one connection the kernel takes that it has not sent yet\n"
            ".Pq TCP_NOTSENT_LOWAT ;\n"
            "0 leaves that to the kernel, which may hold megabytes for a client that does not\n"
            "read.\n"},
    {SIZE(OPTION_SIZES, "max-linger-bytes", max_linger_bytes, 0, GIB),
     .help = "input discarded after our last byte",
     .man = "Input that is discarded after the last byte was sent\n"
            ".Pq lingers ;\n"
            "beyond it the connection is closed\n"
            ".Pq limit_linger .\n"},
    {SIZE(OPTION_SIZES, "recv-buffer", recv_buffer_bytes, 16, MIB),
     .help = "bytes of one receive",
     .man = "Bytes of one receive.\n"},

    /* ---- Privileges ---- */
    {.section = OPTION_PRIVILEGES, .name = "user", .kind = OPTION_TEXT, .at = AT(user),
     .arg = "NAME",
     .values = "@user",
     .help = "become this user once the listeners are open (root only)"},
    {.section = OPTION_PRIVILEGES, .name = "group", .kind = OPTION_TEXT, .at = AT(group),
     .arg = "NAME",
     .preset = "the user's own group",
     .values = "@group",
     .help = "and this group",
     .man = "Become this user and group once the listeners are open; supplementary groups\n"
            "are those of the user.\n"
            "Names or numbers; a number that is no user of this machine needs a\n"
            ".Fl Fl group .\n"
            "Only root can.\n"
            "Supervisor and workers alike give up all capabilities, cannot gain privileges,\n"
            "and dump no core.\n"},
    {.section = OPTION_PRIVILEGES, .name = "allow-root", .kind = OPTION_TRUE,
     .at = AT(allow_root),
     .help = "serve as root, which is refused otherwise",
     .man = "Serve as root.\n"
            "Otherwise a server started by root without\n"
            ".Fl Fl user\n"
            "refuses to start.\n"},
    {.section = OPTION_PRIVILEGES, .name = "seccomp", .kind = OPTION_SANDBOX, .at = AT(sandbox),
     .min = OPTIONS_SANDBOX_ON,
     .preset = "where it works",
     .help = "system call filter on the workers, or no start"},
    {.section = OPTION_PRIVILEGES, .name = "no-seccomp", .kind = OPTION_SANDBOX,
     .at = AT(sandbox), .min = OPTIONS_SANDBOX_OFF,
     .help = "no filter",
     .man = "Restrict the workers to the system calls that they need, or do not start; or\n"
            "leave that out.\n"
            "Without either option the filter is installed where it works, but not with\n"
            ".Fl Fl workers Cm 0 .\n"
            "Any other system call fails with\n"
            ".Er EPERM ;\n"
            ".Xr execve 2\n"
            "and its like kill the worker.\n"
            "What goes through an io_uring is not seen by such a filter.\n"
            "With or without one, the backend therefore restricts its rings, where the kernel\n"
            "can: they take accept, receive, send, cancel and a read, and nothing can be\n"
            "registered with them any more.\n"},

    /* ---- Other ---- */
    {COUNT(OPTION_OTHER, "burn-ns", burn_ns, 0, 1000000000),
     .man = "Spin for so many nanoseconds for each request.\n"
            "Makes the server slower by a known amount, to test tools that measure it; of no\n"
            "other use.\n"},

    /* ---- On the command line alone ---- */
    {.section = OPTION_ACTIONS, .name = "config", .letter = 'c', .line_only = true,
     .kind = OPTION_TEXT, .at = AT(config), .arg = "FILE",
     .values = "@file",
     .help = "read options from there, too: their long names and values, one a line",
     .man = "Read options from\n"
            ".Ar file\n"
            "too, see\n"
            ".Xr bivalve.conf 5 .\n"
            "What is given on the command line takes the place of what the file says.\n"},
    {ACTION("test", 't', OPTIONS_TEST),
     .help = "check options, files, addresses and user, and exit",
     .man = "Check the options, the options file, the dataset, that the addresses are of this\n"
            "machine and the users known to it, and exit.\n"
            "No port is taken.\n"},
    {ACTION("status", 0, OPTIONS_STATUS),
     .help = "show what a running server says of itself, at --admin [" OPTIONS_ADMIN_DEFAULT "]",
     .man = "Ask the server whose\n"
            ".Fl Fl admin\n"
            "address is given how it is, twice within a second, and print it: workers,\n"
            "connections, rates, memory, what went wrong and which limits were hit.\n"
            "Without\n"
            ".Fl Fl admin\n"
            "the address is\n"
            ".Pa unix:/run/bivalve/admin ,\n"
            "where the unit file of\n"
            ".Xr systemd 1\n"
            "puts it.\n"},
    {.section = OPTION_ACTIONS, .name = "watch", .line_only = true, .kind = OPTION_TRUE, .at = AT(watch),
     .help = "with --status: again every second",
     .man = "With\n"
            ".Fl Fl status :\n"
            "again every second.\n"},
    {.section = OPTION_ACTIONS, .name = "make-test-cert", .line_only = true,
     .kind = OPTION_MAKE_CERT, .at = AT(make_cert), .arg = "DIR",
     .values = "@dir",
     .help = "make DIR/cert.pem and DIR/key.pem for localhost, for trials, and exit",
     .man = "Make\n"
            ".Ar dir Ns Pa /cert.pem ,\n"
            "a certificate for localhost that vouches for itself and is good for 90 days, and\n"
            ".Ar dir Ns Pa /key.pem ,\n"
            "its key, for trials; then exit.\n"
            "Files that exist are not replaced.\n"},
    {ACTION("probe", 0, OPTIONS_PROBE),
     .help = "say which backends work on this machine, and if not, why",
     .man = "Print for every backend compiled in whether this machine runs it, which of its\n"
            "features are found and which are missing, and what to do about it; then exit,\n"
            "with status 0 if at least one backend runs.\n"},
    {ACTION("version", 'V', OPTIONS_VERSION),
     .help = "version and backends compiled in",
     .man = "Print the version and the backends compiled in with the versions of their\n"
            "libraries.\n"},
    {ACTION("help", 'h', OPTIONS_HELP),
     .help = "this text",
     .man = "Print a summary of the options.\n"},
};
/* clang-format on */

const size_t option_table_len = ARRAY_LEN(option_table);

static_assert(ARRAY_LEN(option_table) <= OPTION_TABLE_MAX, "OPTION_TABLE_MAX holds all options");

const char *option_default(const struct options *o, const struct option_spec *spec, char *out,
                           size_t out_size)
{
    const void *at = (const char *)o + spec->at;
    uint32_t n = 0;

    switch (spec->kind) {
    case OPTION_SECONDS:
        n = *(const uint32_t *)at;
        if (n % 1000)
            snprintf(out, out_size, "%g", n / 1000.);
        else
            snprintf(out, out_size, "%" PRIu32, n / 1000);
        break;
    case OPTION_COUNT:
    case OPTION_SIZE32: snprintf(out, out_size, "%" PRIu32, *(const uint32_t *)at); break;
    case OPTION_SIZE64: snprintf(out, out_size, "%" PRIu64, *(const uint64_t *)at); break;
    default: snprintf(out, out_size, "%s", spec->preset ? spec->preset : "");
    }
    return out;
}
