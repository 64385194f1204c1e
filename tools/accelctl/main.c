/* SPDX-License-Identifier: MIT */
/*
 * accelctl: finds, describes, tests and measures ONPU cards.
 *
 * Arguments are checked here; the work is done in a child process. The parent touches
 * no card: when the child has not finished by the deadline, or died, the parent says so, in
 * JSON if that was asked for, and ends. So no dead card can make accelctl hang. Of a command that goes on
 * telling (monitor) the parent passes on what it says, and each report has a deadline.
 */
#define _GNU_SOURCE
#include "accelctl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define VERSION_TEXT "accelctl 0.1.0"

static const struct command *const commands[] = {
	&command_list, &command_info, &command_memory, &command_ps, &command_monitor, &command_selftest,
	&command_bench,
};

static const char common_options[] =
	"  -d, --device DEVICE   card by index, PCI address or device node (default: the first)\n"
	"  -j, --json            print one JSON document, also for errors\n"
	"  -t, --timeout SECONDS give up after that time (default here: %u)\n"
	"  -h, --help            print this text\n";

static const char exit_text[] =
	"\nExit status: 0 ok, 1 check failed, 2 usage, 3 no device, 4 device error, 5 timeout,\n"
	"6 driver not bound, 7 permission denied.\n";

struct json_object *new_document(const char *command)
{
	struct json_object *doc = json_object_new_object();
	struct json_object *schema = json_object_new_object();

	add_text(schema, "name", "accelctl");
	add_int(schema, "version", SCHEMA_VERSION);
	json_object_object_add(doc, "schema", schema);
	add_text(doc, "command", command);
	return doc;
}

void print_document(struct json_object *doc, enum status status, bool one_line)
{
	int form = one_line ? JSON_C_TO_STRING_PLAIN : JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;

	add_text(doc, "status", status_name(status));
	add_int(doc, "exit_status", status);
	if (!json_object_object_get_ex(doc, "error", NULL))
		add_text(doc, "error", NULL);
	puts(json_object_to_json_string_ext(doc, form | JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* Ends a run that did not get as far as the child. */
static int finish(struct ctl *ctl, enum status status)
{
	if (ctl->json)
		print_document(ctl->doc, status, ctl->command && ctl->command->streams);
	json_object_put(ctl->doc);
	return fflush(stdout) ? (int)STATUS_DEVICE : (int)status;
}

static void help_text(const struct command *command, char *text, size_t room)
{
	size_t used = 0;

	if (command) {
		used += (size_t)snprintf(text, room, "Usage: accelctl %s %s%s[OPTION...]\n%s.\n\n%s",
					 command->name, command->usage, *command->usage ? " " : "",
					 command->summary, command->options ? command->options : "");
		used += (size_t)snprintf(text + used, room - used, common_options, command->timeout);
		snprintf(text + used, room - used, "%s", exit_text);
		return;
	}
	used += (size_t)snprintf(text, room, "Usage: accelctl COMMAND [OPTION...]\n\nCommands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		used += (size_t)snprintf(text + used, room - used, "  %-9s %s\n", commands[i]->name,
					 commands[i]->summary);
	snprintf(text + used, room - used,
		 "\naccelctl COMMAND --help tells more; --version prints the version.\n%s", exit_text);
}

static int help(struct ctl *ctl, const struct command *command)
{
	char text[4096];

	help_text(command, text, sizeof(text));
	add_text(ctl->doc, "help", text);
	print(ctl, "%s", text);
	return finish(ctl, STATUS_OK);
}

static int version(struct ctl *ctl)
{
	uint32_t library = accel_version();

	add_text(ctl->doc, "version", VERSION_TEXT);
	add_format(ctl->doc, "libaccel_version", "%u.%u.%u", library >> 16, library >> 8 & 0xff,
		   library & 0xff);
	print(ctl, "%s (libaccel %u.%u.%u)\n", VERSION_TEXT, library >> 16, library >> 8 & 0xff,
	      library & 0xff);
	return finish(ctl, STATUS_OK);
}

/* ---- the child and its deadline ---- */

static int run_child(struct ctl *ctl, int out)
{
	bool streams = ctl->command->streams;
	enum status status;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (streams && dup2(out, STDOUT_FILENO) < 0)
		return STATUS_DEVICE;
	status = ctl->command->run(ctl);
	if (ctl->json) {	/* all of it or nothing */
		if (dup2(out, STDOUT_FILENO) < 0)
			return STATUS_DEVICE;
		if (!streams || status)
			print_document(ctl->doc, status, streams);
	}
	if (fflush(stdout))
		status = STATUS_DEVICE;
	json_object_put(ctl->doc);
	return (int)status;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct text {
	char *data;
	size_t size;
};

/* Collects what the child says until it closes the pipe; false: it was too late. */
static bool collect(int in, int64_t deadline, struct text *text)
{
	for (;;) {
		struct pollfd wait = { .fd = in, .events = POLLIN };
		int64_t left = deadline - now_ms();
		ssize_t length;

		if (left <= 0)
			return false;
		if (poll(&wait, 1, left > INT32_MAX ? INT32_MAX : (int)left) <= 0)
			continue;
		text->data = realloc(text->data, text->size + 4096);
		if (!text->data)
			abort();
		length = read(in, text->data + text->size, 4096);
		if (length > 0)
			text->size += (size_t)length;
		else if (!length || errno != EINTR)
			return true;
	}
}

static bool reap(pid_t child, int64_t deadline, int *status)
{
	const struct timespec pause = { 0, 2000000 };

	for (;;) {
		pid_t pid = waitpid(child, status, WNOHANG);

		if (pid == child)
			return true;
		if (now_ms() >= deadline)
			return false;
		nanosleep(&pause, NULL);
	}
}

/* How a child has ended that is late or that nobody killed; else what it was. */
static int child_failed(struct ctl *ctl, bool late, int status)
{
	enum status result = late ? STATUS_TIMEOUT : STATUS_DEVICE;

	if (late)
		error(ctl, result, "no answer in %u s: the card or its driver is unresponsive", ctl->timeout);
	else
		error(ctl, result, "%s died of signal %d", ctl->command->name, WTERMSIG(status));
	return finish(ctl, result);
}

static int supervise(struct ctl *ctl, pid_t child, int in)
{
	int64_t deadline = now_ms() + (int64_t)ctl->timeout * 1000;
	struct text text = { NULL, 0 };
	bool late;
	int status;

	late = !collect(in, deadline, &text) || !reap(child, deadline, &status);
	if (late)
		kill(child, SIGKILL);	/* it may be beyond that: not waited for */
	if (late || !WIFEXITED(status)) {
		free(text.data);
		return child_failed(ctl, late, status);
	}
	if (text.size && fwrite(text.data, 1, text.size, stdout) != text.size)
		status = STATUS_DEVICE << 8;
	free(text.data);
	json_object_put(ctl->doc);
	return fflush(stdout) ? (int)STATUS_DEVICE : WEXITSTATUS(status);
}

/* ---- a child that goes on telling ---- */

/* After an interruption the child has so long to finish its report. */
#define LAST_REPORT_MS	1000

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

/* Signals that end it; blocked but while the parent waits. The child takes them when it likes to (sigtimedwait()). */
static void catch_signals(sigset_t *before)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	const struct sigaction action = { .sa_handler = interrupt };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		sigaddset(&set, numbers[i]);
		sigaction(numbers[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &set, before);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		sigdelset(before, numbers[i]);
}

/* Passes on what the child has said: whole lines, as a document that is cut off is none. */
static bool pass_on(struct text *text, bool all)
{
	const char *end = text->size ? memrchr(text->data, '\n', text->size) : NULL;
	size_t size = all ? text->size : end ? (size_t)(end - text->data) + 1 : 0;

	if (!size)
		return true;
	if (fwrite(text->data, 1, size, stdout) != size || fflush(stdout))
		return false;
	text->size -= size;
	memmove(text->data, text->data + size, text->size);
	return true;
}

enum stream { STREAM_END, STREAM_LATE, STREAM_BROKEN };

/* Passes on what the child says, until it ends, says nothing for too long, or nobody listens. */
static enum stream pass_all(struct ctl *ctl, pid_t child, int in, const sigset_t *mask, struct text *text)
{
	int64_t patience = (int64_t)ctl->timeout * 1000 + ctl->watch.interval_ms;
	int64_t deadline = now_ms() + patience;
	bool told = false;

	for (;;) {
		struct pollfd wait = { .fd = in, .events = POLLIN };
		int64_t left = deadline - now_ms();
		struct timespec time = { left / 1000, left % 1000 * 1000000 };
		ssize_t length;

		if (left <= 0)
			return STREAM_LATE;
		if (ppoll(&wait, 1, &time, mask) <= 0) {
			if (interrupted && !told) {
				told = true;
				kill(child, SIGTERM);
				deadline = now_ms() + LAST_REPORT_MS;
			}
			continue;
		}
		text->data = realloc(text->data, text->size + 4096);
		if (!text->data)
			abort();
		length = read(in, text->data + text->size, 4096);
		if (length < 0 && errno == EINTR)
			continue;
		if (length <= 0)
			return pass_on(text, !ctl->json) ? STREAM_END : STREAM_BROKEN;
		text->size += (size_t)length;
		if (!pass_on(text, !ctl->json))
			return STREAM_BROKEN;
		if (!told)
			deadline = now_ms() + patience;
	}
}

static int supervise_stream(struct ctl *ctl, pid_t child, int in, const sigset_t *mask)
{
	struct text text = { NULL, 0 };
	enum stream stream = pass_all(ctl, child, in, mask, &text);
	bool late = stream == STREAM_LATE;
	int status = 0;

	free(text.data);
	if (stream != STREAM_END || !reap(child, now_ms() + LAST_REPORT_MS, &status)) {
		kill(child, SIGKILL);	/* it may be beyond that: not waited for */
		if (!interrupted)
			late = late || stream == STREAM_END;
	}
	if (interrupted || stream == STREAM_BROKEN) {
		json_object_put(ctl->doc);
		return interrupted ? (int)STATUS_OK : (int)STATUS_DEVICE;
	}
	if (late || !WIFEXITED(status))
		return child_failed(ctl, late, status);
	json_object_put(ctl->doc);
	return WEXITSTATUS(status);
}

static int run(struct ctl *ctl)
{
	sigset_t mask;
	int pipes[2];
	pid_t child;

	fflush(NULL);
	ctl->tty = isatty(STDOUT_FILENO);
	if (ctl->command->streams)
		catch_signals(&mask);
	if (pipe2(pipes, O_CLOEXEC) || (child = fork()) < 0) {
		error(ctl, STATUS_DEVICE, "cannot start a process: %s", strerror(errno));
		return finish(ctl, STATUS_DEVICE);
	}
	if (!child) {
		close(pipes[0]);
		return run_child(ctl, pipes[1]);
	}
	close(pipes[1]);
	if (ctl->command->streams)
		return supervise_stream(ctl, child, pipes[0], &mask);
	return supervise(ctl, child, pipes[0]);
}

/* ---- arguments ---- */

static const struct option long_common[] = {
	{ "device", required_argument, NULL, 'd' },
	{ "json", no_argument, NULL, 'j' },
	{ "timeout", required_argument, NULL, 't' },
	{ "help", no_argument, NULL, 'h' },
};

/* Options of a command: the common ones and its own. */
static void all_options(const struct command *command, struct option *all)
{
	memcpy(all, long_common, sizeof(long_common));
	all += ARRAY_SIZE(long_common);
	for (const struct option *own = command->long_options; own && own->name; own++)
		*all++ = *own;
	memset(all, 0, sizeof(*all));
}

static enum status take_timeout(struct ctl *ctl, const char *argument)
{
	unsigned long value;
	char *end;

	value = strtoul(argument, &end, 10);
	if (*argument < '0' || *argument > '9' || *end || !value || value > 86400)
		return error(ctl, STATUS_USAGE, "--timeout: \"%s\" is no number from 1 to 86400", argument);
	ctl->timeout = (unsigned int)value;
	return STATUS_OK;
}

static enum status take_device(struct ctl *ctl, const char *device)
{
	if (ctl->device)
		return error(ctl, STATUS_USAGE, "two devices: \"%s\" and \"%s\"", ctl->device, device);
	ctl->device = device;
	return STATUS_OK;
}

/* Which option getopt_long() did not like. */
static enum status bad_option(struct ctl *ctl, int value, char **argv)
{
	const char *text = argv[optind > 0 ? optind - 1 : 0];
	char letter[3] = { '-', (char)optopt, '\0' };

	if (optopt && optopt < 256 && strncmp(text, "--", 2))
		text = letter;
	return error(ctl, STATUS_USAGE, value == ':' ? "option %s needs a value" : "unknown option %s",
		     text);
}

static enum status take_option(struct ctl *ctl, int value, char **argv)
{
	const struct command *command = ctl->command;

	switch (value) {
	case 'j':
		return STATUS_OK;	/* seen already */
	case 'd':
		return take_device(ctl, optarg);
	case 't':
		return take_timeout(ctl, optarg);
	case '?':
	case ':':
		return bad_option(ctl, value, argv);
	default:
		break;
	}
	if (value < 1000) {	/* -m, -n, -k of a command that has --m, --n, --k */
		for (const struct option *own = command->long_options; own && own->name; own++)
			if (!own->name[1] && own->name[0] == value)
				return command->option(ctl, own->val, optarg);
		return error(ctl, STATUS_USAGE, "unknown option -%c", value);
	}
	return command->option(ctl, value, optarg);
}

static enum status take_arguments(struct ctl *ctl, int count, char **arguments)
{
	if (ctl->command->arguments)
		return ctl->command->arguments(ctl, count, arguments);
	if (count > 1)
		return error(ctl, STATUS_USAGE, "unexpected argument \"%s\"", arguments[1]);
	return count ? take_device(ctl, arguments[0]) : STATUS_OK;
}

static int run_command(struct ctl *ctl, int argc, char **argv)
{
	struct option options[OPTIONS_MAX];
	enum status status = STATUS_OK;
	int value;

	ctl->timeout = ctl->command->timeout;
	all_options(ctl->command, options);
	opterr = 0;
	optind = 1;
	while (!status && (value = getopt_long(argc, argv, ":d:jt:hm:n:k:s:", options, NULL)) != -1) {
		if (value == 'h')
			return help(ctl, ctl->command);
		status = take_option(ctl, value, argv);
	}
	if (!status)
		status = take_arguments(ctl, argc - optind, argv + optind);
	if (status) {
		if (!ctl->json)
			fprintf(stderr, "Try: accelctl %s --help\n", ctl->command->name);
		return finish(ctl, status);
	}
	return run(ctl);
}

/* Errors in the arguments, too, are told in JSON. */
static bool wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], "--json") || !strcmp(argv[i], "-j"))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	struct ctl ctl = {
		.json = wants_json(argc, argv),
		.bench = { .iterations = 10, .seed = 1, .memory = ACCEL_BUFFER_CARD },
		.watch = { .interval_ms = 1000 },
	};
	const char *name = NULL;
	int at;

	accel_plan_config_init(&ctl.bench.plan);
	for (at = 1; at < argc; at++) {
		if (strcmp(argv[at], "--json") && strcmp(argv[at], "-j")) {
			name = argv[at];
			break;
		}
	}
	for (size_t i = 0; name && i < ARRAY_SIZE(commands); i++)
		if (!strcmp(name, commands[i]->name))
			ctl.command = commands[i];
	ctl.doc = new_document(ctl.command ? ctl.command->name : NULL);
	if (ctl.command)
		return run_command(&ctl, argc - at, argv + at);
	if (name && (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")))
		return help(&ctl, NULL);
	if (name && (!strcmp(name, "--version") || !strcmp(name, "-V")))
		return version(&ctl);
	if (name)
		error(&ctl, STATUS_USAGE, "unknown command \"%s\"; accelctl --help lists them", name);
	else
		error(&ctl, STATUS_USAGE, "no command; accelctl --help lists them");
	return finish(&ctl, STATUS_USAGE);
}
