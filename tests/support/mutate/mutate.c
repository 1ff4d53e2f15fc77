/* SPDX-License-Identifier: MIT
 *
 * Mutants of one C file: what the file would be with one small mistake in it.
 *
 *     mutate FILE          lists them, one a line: number, line, "function: before => after"
 *     mutate FILE NUMBER   prints the file with that one mistake
 *
 * Only function bodies are changed, and no asserts. The mistakes:
 *
 *     a < b      a <= b, a >= b      a + b   a - b     a && b   a || b     n       (n + 1), (n - 1)
 *     a == b     a != b              i++     i--       a ? b    !a ? b     true    false
 *     if (a)     if (!(a))           !a, ~a  a         a = b;   f(a);   return a;   (nothing)
 *
 * and likewise for the other operators. A weaker memory order is not among them: on x86 it makes
 * no difference that a test could see; the thread sanitizer and the model of the slot map judge
 * those.
 *
 * The scanner is no parser. It relies on the formatting that ./dev lint checks: a binary operator
 * has white space on both sides and no other operator has, blocks have braces, and a label stands
 * alone on its line. What it gets wrong does not compile and is not counted.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct scan {
    char *text; /* the file */
    char *code; /* the same without comments, directives and what is in quotes: spaces */
    size_t length;
    size_t wanted; /* the number of the mutant to print, or 0 to list them */
    size_t count;
    char function[64];
    size_t body;           /* where the function's body begins */
    size_t braces, parens; /* how deep inside */
};

static const struct {
    const char *before, *after[2];
} operators[] = {
    {"<<=", {">>="}},   {">>=", {"<<="}},   {"<<", {">>"}},      {">>", {"<<"}},
    {"==", {"!="}},     {"!=", {"=="}},     {"&&", {"||"}},      {"||", {"&&"}},
    {"+=", {"-="}},     {"-=", {"+="}},     {"|=", {"&="}},      {"&=", {"|="}},
    {"^=", {"|="}},     {"*=", {"/="}},     {"/=", {"*="}},      {"%=", {"/="}},
    {"<=", {"<", ">"}}, {">=", {">", "<"}}, {"<", {"<=", ">="}}, {">", {">=", "<="}},
    {"+", {"-"}},       {"-", {"+"}},       {"*", {"/"}},        {"/", {"*"}},
    {"%", {"/"}},       {"&", {"|"}},       {"|", {"&"}},        {"^", {"|"}},
    {"?", {"== 0 ?"}},
};

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static bool is_space(char c)
{
    return isspace((unsigned char)c) != 0;
}

static bool starts_with(const char *text, const char *word)
{
    size_t length = strlen(word);
    return strncmp(text, word, length) == 0 &&
           !(is_word(word[length - 1]) && is_word(text[length]));
}

/* ---- the mutants ---- */

/* Prints `size` bytes with every stretch of white space as one space; *last is what was printed
 * before. */
static void print_line(const char *text, size_t size, char *last)
{
    for (size_t i = 0; i < size; i++) {
        char c = is_space(text[i]) ? ' ' : text[i];
        if (c != ' ' || *last != ' ') {
            putchar(c);
        }
        *last = c;
    }
}

/* The next mutant: `size` bytes at `at` are replaced. */
static void mutant(struct scan *scan, size_t at, size_t size, const char *replacement)
{
    const char *text = scan->text;
    size_t begin = at, end = at + size, line = 1;
    char last = ' ';
    if (++scan->count == scan->wanted) {
        fwrite(text, 1, at, stdout);
        fputs(replacement, stdout);
        fwrite(text + at + size, 1, scan->length - at - size, stdout);
        exit(0);
    }
    if (scan->wanted != 0) {
        return;
    }
    while (text[begin - 1] != '\n') {
        begin--;
    }
    while (is_space(text[begin])) {
        begin++;
    }
    end += strcspn(text + end, "\n");
    for (size_t i = 0; i < at; i++) {
        line += text[i] == '\n';
    }
    printf("%zu\t%zu\t%s: ", scan->count, line, scan->function);
    print_line(text + begin, end - begin, &last);
    printf(" => ");
    print_line(text + begin, at - begin, &last);
    print_line(replacement, strlen(replacement), &last);
    print_line(text + at + size, end - at - size, &last);
    putchar('\n');
}

/* The bracket that closes the one at `at`. */
static size_t closing(const char *code, size_t at)
{
    size_t depth = 0;
    do {
        depth += strchr("([{", code[at]) != NULL;
        depth -= strchr(")]}", code[at]) != NULL;
    } while (depth > 0 && code[++at] != '\0');
    return at;
}

/* One comparison or one !: the mutants of the operator are enough. */
static bool is_simple(const char *code, size_t size)
{
    size_t comparisons = code[0] == '!';
    for (size_t i = 0; i < size; i++) {
        if (strncmp(code + i, "&&", 2) == 0 || strncmp(code + i, "||", 2) == 0) {
            return false;
        }
        comparisons += strchr("<>=", code[i]) != NULL && (is_space(code[i + 1]));
    }
    return comparisons > 0;
}

static void negate_condition(struct scan *scan, size_t open)
{
    size_t size = closing(scan->code, open) - open - 1;
    if (is_simple(scan->code + open + 1, size)) {
        return;
    }
    char *negated = malloc(size + 4);
    memcpy(negated, "!(", 2);
    memcpy(negated + 2, scan->text + open + 1, size);
    memcpy(negated + 2 + size, ")", 2);
    mutant(scan, open + 1, size, negated);
    free(negated);
}

static size_t number(struct scan *scan, size_t at)
{
    char plain[64], changed[80];
    size_t size = 0;
    while (is_word(scan->code[at + size]) || scan->code[at + size] == '.') {
        size++;
    }
    snprintf(plain, sizeof(plain), "%.*s", (int)size, scan->code + at);
    snprintf(changed, sizeof(changed), "(%s + 1)", plain);
    mutant(scan, at, size, changed);
    if (strtoull(plain, NULL, 0) != 0) {
        snprintf(changed, sizeof(changed), "(%s - 1)", plain);
        mutant(scan, at, size, changed);
    }
    return at + size;
}

static size_t operator_at(struct scan *scan, size_t at)
{
    const char *code = scan->code + at;
    if (starts_with(code, "->")) {
        return at + 2;
    }
    if (starts_with(code, "++") || starts_with(code, "--")) {
        mutant(scan, at, 2, code[0] == '+' ? "--" : "++");
        return at + 2;
    }
    if ((code[0] == '!' && code[1] != '=') || code[0] == '~') {
        mutant(scan, at, 1, "");
        return at + 1;
    }
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
        size_t size = strlen(operators[i].before);
        if (strncmp(code, operators[i].before, size) == 0 && is_space(code[-1]) &&
            is_space(code[size])) {
            for (size_t k = 0; k < 2 && operators[i].after[k] != NULL; k++) {
                mutant(scan, at, size, operators[i].after[k]);
            }
            return at + size;
        }
    }
    return at + 1;
}

/* ---- statements ---- */

/* A name, then another one, or a star that belongs to it. */
static bool is_declaration(const char *code)
{
    while (is_word(*code)) {
        code++;
    }
    code += strspn(code, " ");
    return is_word(*code) || (*code == '*' && !is_space(code[1]));
}

/* If a simple statement begins at `at`, a mutant without it. */
static void leave_out(struct scan *scan, size_t at)
{
    static const char *const kept[] = {"if",   "for",  "while",   "do",     "switch",
                                       "else", "case", "default", "(void)", "assert"};
    const char *code = scan->code;
    size_t end = at;
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        if (starts_with(code + at, kept[i])) {
            return;
        }
    }
    if (starts_with(code + at, "return") && scan->braces < 2) {
        return; /* the last one of the function */
    }
    if (!starts_with(code + at, "return") && !starts_with(code + at, "goto") &&
        is_declaration(code + at)) {
        return;
    }
    for (; code[end] != ';'; end++) {
        if (code[end] == '\0' || code[end] == '}' || (code[end] == ':' && code[end + 1] == '\n')) {
            return; /* the end of an initialiser; a label */
        }
        if (strchr("([{", code[end]) != NULL) {
            end = closing(code, end);
        }
    }
    if (end > at) {
        mutant(scan, at, end - at, "");
    }
}

/* A statement may begin behind these. */
static bool ends_statement(const char *code, size_t at)
{
    while (at > 0 && is_space(code[at])) {
        at--;
    }
    return strchr(";{}", code[at]) != NULL || (code[at] == ':' && code[at + 1] == '\n');
}

/* ---- the file ---- */

/* A token of a function's body; returns where the next one may begin. */
static size_t token(struct scan *scan, size_t at)
{
    const char *code = scan->code;
    if (scan->parens == 0 && ends_statement(code, at - 1)) {
        leave_out(scan, at);
    }
    if (code[at] == '"' || code[at] == '\'') {
        return at + 2 + strcspn(code + at + 1, code[at] == '"' ? "\"" : "'");
    }
    if (isdigit((unsigned char)code[at])) {
        return number(scan, at);
    }
    if (!is_word(code[at])) {
        return operator_at(scan, at);
    }
    if (starts_with(code + at, "assert")) {
        return at + strcspn(code + at, ";");
    }
    if (starts_with(code + at, "true") || starts_with(code + at, "false")) {
        bool was = code[at] == 't';
        mutant(scan, at, was ? 4 : 5, was ? "false" : "true");
    } else if (starts_with(code + at, "if") || starts_with(code + at, "while")) {
        negate_condition(scan, at + strcspn(code + at, "("));
    }
    while (is_word(code[at])) {
        at++;
    }
    return at;
}

/* The name before the parameters that end at `at`; false for no function's. */
static bool find_name(struct scan *scan, size_t at)
{
    const char *code = scan->code;
    size_t depth = 0, end;
    while (at > 0 && is_space(code[at])) {
        at--;
    }
    if (code[at] != ')') {
        return false;
    }
    do {
        depth += code[at] == ')';
        depth -= code[at] == '(';
    } while (depth > 0 && --at > 0);
    for (end = at; at > 0 && is_word(code[at - 1]); at--) {
    }
    snprintf(scan->function, sizeof(scan->function), "%.*s", (int)(end - at), code + at);
    return true;
}

static void scan_file(struct scan *scan)
{
    const char *code = scan->code;
    for (size_t at = 0; at < scan->length;) {
        char c = code[at];
        bool body = scan->body != 0;
        if (c == '{' && !body && !find_name(scan, at - 1)) {
            at = closing(code, at); /* a structure, an initialiser */
        } else if (c == '{') {
            scan->body = body ? scan->body : at;
            scan->braces++;
        } else if (c == '}' && body) {
            scan->braces--;
            scan->body = scan->braces > 0 ? scan->body : 0;
        } else if (c == '(' || c == ')') {
            scan->parens += body && c == '(';
            scan->parens -= body && c == ')';
            if (body && c == '(' && scan->parens == 1 && ends_statement(code, at - 1)) {
                leave_out(scan, at);
            }
        } else if (body && !is_space(c)) {
            at = token(scan, at);
            continue;
        }
        at++;
    }
}

/* Blanks comments, directives and quoted text; line ends stay. */
static void blank(char *code)
{
    bool line_begins = true;
    for (char *c = code; *c != '\0'; c++) {
        char *end = c;
        if (strncmp(c, "/*", 2) == 0) {
            end = strstr(c, "*/") + 2;
        } else if (strncmp(c, "//", 2) == 0 || (line_begins && *c == '#')) {
            for (end += strcspn(end, "\n"); end[-1] == '\\'; end += strcspn(end, "\n")) {
                end++;
            }
        } else if (*c == '"' || *c == '\'') {
            char quote = *c++;
            for (end = c; *end != quote; end++) {
                end += *end == '\\';
            }
        }
        line_begins = *c == '\n' || (line_begins && is_space(*c));
        for (; c < end; c++) {
            *c = *c == '\n' ? '\n' : ' ';
        }
    }
}

static char *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        exit(2);
    }
    *length = (size_t)ftell(file);
    rewind(file);
    text = calloc(*length + 1, 1);
    if (text == NULL || fread(text, 1, *length, file) != *length) {
        perror(path);
        exit(2);
    }
    fclose(file);
    return text;
}

int main(int argc, char **argv)
{
    struct scan scan = {0};
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: mutate FILE [NUMBER]\n");
        return 2;
    }
    scan.text = read_file(argv[1], &scan.length);
    scan.code = read_file(argv[1], &scan.length);
    scan.wanted = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    blank(scan.code);
    scan_file(&scan);
    if (argc == 3) {
        fprintf(stderr, "%s has no mutant %s\n", argv[1], argv[2]);
        return 2;
    }
    free(scan.text);
    free(scan.code);
    return 0;
}
