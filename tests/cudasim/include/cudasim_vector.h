/* Vector types with the device's alignments, and their make_ functions in C++. */
#ifndef CUDASIM_VECTOR_H
#define CUDASIM_VECTOR_H

#define __align__(n) __attribute__((aligned(n)))

/* X(prefix of the type's name, element, alignment of 2, 4 elements) */
#define CUDASIM_VECTORS(X)    \
  X(char, signed char, 2, 4)  \
  X(uchar, unsigned char, 2, 4) \
  X(short, short, 4, 8)       \
  X(ushort, unsigned short, 4, 8) \
  X(int, int, 8, 16)          \
  X(uint, unsigned int, 8, 16) \
  X(float, float, 8, 16)      \
  X(longlong, long long, 16, 16) \
  X(double, double, 16, 16)

#define CUDASIM_VECTOR_TYPE(name, element, a2, a4) \
  typedef struct name##1 {                         \
    element x;                                     \
  } name##1;                                       \
  typedef struct __align__(a2) name##2 {           \
    element x, y;                                  \
  } name##2;                                       \
  typedef struct name##3 {                         \
    element x, y, z;                               \
  } name##3;                                       \
  typedef struct __align__(a4) name##4 {           \
    element x, y, z, w;                            \
  } name##4;
CUDASIM_VECTORS(CUDASIM_VECTOR_TYPE)
#undef CUDASIM_VECTOR_TYPE

#ifdef __cplusplus
#define CUDASIM_MAKE(name, element, a2, a4)                                                                  \
  static inline name##1 make_##name##1(element x) { return name##1{x}; }                                     \
  static inline name##2 make_##name##2(element x, element y) { return name##2{x, y}; }                       \
  static inline name##3 make_##name##3(element x, element y, element z) { return name##3{x, y, z}; }         \
  static inline name##4 make_##name##4(element x, element y, element z, element w) { return name##4{x, y, z, w}; }
CUDASIM_VECTORS(CUDASIM_MAKE)
#undef CUDASIM_MAKE

struct dim3 {
  unsigned int x, y, z;
  constexpr dim3(unsigned int vx = 1, unsigned int vy = 1, unsigned int vz = 1) : x(vx), y(vy), z(vz) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  operator uint3() const { return uint3{x, y, z}; }
};
#else
typedef struct dim3 {
  unsigned int x, y, z;
} dim3;
#endif

#endif
