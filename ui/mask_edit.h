/* A mask that is being changed: pure operations on pixels, with undo. */
#ifndef PDMBOOTH_UI_MASK_EDIT_H
#define PDMBOOTH_UI_MASK_EDIT_H

#include "formats/image.h"

enum { MASK_UNDOS = 24 };

struct mask_edit {
  struct image mask;               /* one channel, 0 or 255; owned */
  struct image before[MASK_UNDOS]; /* older and older; owned */
  int undos;
  bool changed;
};

/* A mask of w x h pixels from `from` (one channel, any size; above 0 is 1), empty where that is NULL. False: out of memory. */
bool mask_begin(struct mask_edit *m, int w, int h, const struct image *from);
void mask_end(struct mask_edit *m);
void mask_remember(struct mask_edit *m); /* what undo goes back to; call before a change */
bool mask_undo(struct mask_edit *m);     /* false: there is nothing to undo */
void mask_invert(struct mask_edit *m);
/* Every pixel within `radius` pixels of the mask joins it (negative: of the rest leaves it). False: out of memory. */
bool mask_grow(struct mask_edit *m, int radius);
void mask_brush(struct mask_edit *m, double x, double y, double radius, bool on); /* a disc */
void mask_line(struct mask_edit *m, double x0, double y0, double x1, double y1, double radius, bool on);
double mask_share(const struct mask_edit *m); /* of all pixels, 0 to 1 */
/* The photograph with the mask: what is not the subject is darkened, its edge is drawn. False: out of memory, or the sizes differ. */
bool mask_overlay(const struct image *photograph, const struct mask_edit *m, struct image *out);

#endif
