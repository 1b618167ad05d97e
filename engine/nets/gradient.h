/* Gradients that are kept in bf16 (param->half): for the time of a call that adds to them they are lent in fp32. */
#ifndef PDMBOOTH_NETS_GRADIENT_H
#define PDMBOOTH_NETS_GRADIENT_H

#include "nets/ctx.h"

struct lent_gradients {
  struct param *p[2];    /* NULL: nothing was lent */
  struct tensor wide[2]; /* from the pool */
};
/* Sets g of a and b, each of which may be NULL, frozen, or have its gradient in fp32: then it is left alone. After a failure of c nothing is lent. */
struct lent_gradients gradients_lend(struct ctx *c, struct param *a, struct param *b);
/* Rounds what was added to and takes g away again. */
void gradients_return(struct ctx *c, struct lent_gradients *l);

#endif
