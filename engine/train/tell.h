/* Saying things through the sink (pdmbooth.h); every call accepts a sink that is NULL or has NULL members. */
#ifndef PDMBOOTH_TRAIN_TELL_H
#define PDMBOOTH_TRAIN_TELL_H

#include "pdmbooth.h"

void tell(const struct sink *s, enum log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void tell_lines(const struct sink *s, enum log_level level, const char *lines); /* one by one */
void tell_progress(const struct sink *s, const char *stage, int64_t done, int64_t total);
/* Warns of each prompt that is longer than the text encoder reads (77 tokens with start and end), naming the words that are cut. */
struct tokenizer;
void tell_cut_prompts(const struct sink *s, const struct tokenizer *t, const char *const *prompt, int n);
/* False, and *e the fitting code, when the program asked to stop. */
bool tell_goes_on(const struct sink *s, struct err *e);
/* For callbacks that ask for a code: 0, ERR_SIGINT or ERR_SIGTERM. user: a const struct sink.
   While the program wants a pause, this waits. */
int tell_stop_code(void *user);

#endif
