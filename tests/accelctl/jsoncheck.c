/* SPDX-License-Identifier: MIT */
/*
 * jsoncheck [PATH=VALUE | PATH]...: standard input is exactly one JSON document, with
 * these members. PATH is names and array indices with dots between; VALUE is compared as JSON
 * prints it (strings without quotes); a PATH alone must be there and not null. PATH~ prints it.
 *
 * Exit status 0 or 1, and says what is wrong. Without arguments: tests itself.
 */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int bad(const char *what, const char *detail)
{
	printf("jsoncheck: %s%s\n", what, detail);
	return 1;
}

static char *read_all(size_t *size)
{
	char *text = NULL;
	size_t got;

	*size = 0;
	do {
		text = realloc(text, *size + 4097);
		if (!text)
			abort();
		got = fread(text + *size, 1, 4096, stdin);
		*size += got;
	} while (got);
	text[*size] = '\0';
	return text;
}

/* The member at @path, or NULL; null is NULL too. */
static struct json_object *find(struct json_object *object, char *path)
{
	char *rest;

	for (char *name = strtok_r(path, ".", &rest); name; name = strtok_r(NULL, ".", &rest)) {
		if (json_object_is_type(object, json_type_array)) {
			object = json_object_array_get_idx(object, strtoul(name, NULL, 10));
		} else if (!json_object_is_type(object, json_type_object) ||
			   !json_object_object_get_ex(object, name, &object)) {
			return NULL;
		}
		if (!object)
			return NULL;
	}
	return object;
}

static int check(struct json_object *document, const char *wanted)
{
	char path[256];
	const char *value = strchr(wanted, '=');
	size_t length = value ? (size_t)(value - wanted) : strlen(wanted);
	struct json_object *member;
	int print = !value && length && wanted[length - 1] == '~';

	snprintf(path, sizeof(path), "%.*s", (int)(length - (size_t)print), wanted);
	member = find(document, path);
	if (print)
		printf("%s\n", member ? json_object_get_string(member) : "null");
	else if (!member && !(value && !strcmp(value + 1, "null")))
		return bad("missing or null: ", wanted);
	else if (value && member && strcmp(json_object_get_string(member), value + 1))
		return bad(wanted, json_object_get_string(member));
	return 0;
}

/* Whether @text is one document with the @count members. */
static int check_text(const char *text, size_t size, int count, char *const *wanted)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *document;
	size_t end;
	int status = 0;

	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	document = json_tokener_parse_ex(tokener, text, (int)size);
	end = json_tokener_get_parse_end(tokener);
	if (!document)
		status = bad("not JSON: ", json_tokener_error_desc(json_tokener_get_error(tokener)));
	else if (text[end + strspn(text + end, " \n")])
		status = bad("something follows the document: ", text + end);
	for (int i = 0; document && i < count; i++)
		status |= check(document, wanted[i]);
	json_object_put(document);
	json_tokener_free(tokener);
	return status;
}

static int self_test(void)
{
	static const struct { const char *text, *wanted; int status; } cases[] = {
		{ "{\"a\": {\"b\": [1, \"x\"]}}\n", "a.b.1=x", 0 },
		{ "{\"a\": {\"b\": [1, \"x\"]}}", "a.b.0=2", 1 },
		{ "{\"a\": null}", "a=null", 0 },
		{ "{\"a\": null}", "a", 1 },
		{ "{\"a\": 0}", "a", 0 },
		{ "{\"a\": 0}", "b", 1 },
		{ "{\"a\": 0} {}", "a", 1 },
		{ "{\"a\": 0,}", "a", 1 },
		{ "{\"a\": 0", "a", 1 },
		{ "warning\n{\"a\": 0}", "a", 1 },
		{ "", "a", 1 },
	};
	const int count = (int)(sizeof(cases) / sizeof(cases[0]));
	int status = 0;

	printf("1..%d\n", count);
	for (int i = 0; i < count; i++) {
		char *wanted = strdup(cases[i].wanted);
		int good = check_text(cases[i].text, strlen(cases[i].text), 1, &wanted) ==
			   cases[i].status;

		printf("%sok %d - %s in %.12s\n", good ? "" : "not ", i + 1, wanted,
		       *cases[i].text == '{' ? cases[i].text : "no document");
		status |= !good;
		free(wanted);
	}
	return status;
}

int main(int argc, char **argv)
{
	size_t size;
	char *text;
	int status;

	if (argc == 1)
		return self_test();
	text = read_all(&size);
	status = check_text(text, size, argc - 1, argv + 1);
	free(text);
	return status;
}
