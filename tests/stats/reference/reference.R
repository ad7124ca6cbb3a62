# Reference values for tests/stats, by R 4.2.2 and what it brings: Rscript reference.R > reference.csv
# Printed as case,quantity,value with 15 significant digits.

say <- function(case, quantity, value)
  cat(sprintf("%s,%s,%.15g\n", case, quantity, value))

cat("case,quantity,value\n")

# --- Student's t over blocks on the log scale, paired (t.test)
numerator <- c(238.1, 251.9, 229.4, 247.3, 260.8, 233.6)
denominator <- c(61.2, 58.7, 60.9, 57.4, 62.3, 59.5)
for (n in c(2, 3, 6)) {
  log_ratio <- log(numerator[1:n]) - log(denominator[1:n])
  for (level in c(0.90, 0.95)) {
    test <- t.test(log_ratio, conf.level = level)
    case <- sprintf("ratio-%d-%g", n, level)
    say(case, "value", exp(test$estimate))
    say(case, "low", exp(test$conf.int[1]))
    say(case, "high", exp(test$conf.int[2]))
  }
}

# --- ranks of the order-statistic interval with equal tails, by search in the binomial (pbinom)
ranks <- function(n, q, level) {
  tail <- (1 - level) / 2
  low <- max(which(pbinom(0:(n - 1), n, q) <= tail))               # P(X_(low) > quantile)
  high <- min(which(pbinom(0:(n - 1), n, q, lower.tail = FALSE) <= tail)) # P(X_(high) < quantile)
  c(low, high)
}
for (q in c(0.5, 0.95, 0.99)) for (n in c(6, 10, 30, 72, 100, 368, 1000, 5000)) {
  needed <- ceiling(log(0.025) / log(max(q, 1 - q)))
  if (n < needed) next
  r <- ranks(n, q, 0.95)
  say(sprintf("ranks-%d-%g", n, q), "low", r[1])
  say(sprintf("ranks-%d-%g", n, q), "high", r[2])
}

# --- a sequence that numpy can make as well: the Weyl sequence of the golden ratio
weyl <- function(n) (seq_len(n) * (sqrt(5) - 1) / 2) %% 1

# --- quantile of type 1 (Hyndman & Fan 1996)
for (n in c(99, 100, 368)) for (q in c(0.5, 0.95, 0.99))
  say(sprintf("quantile-%d-%g", n, q), "value", quantile(weyl(n), q, type = 1))

# --- MSER-5, by the definition: every candidate in a loop
mser5 <- function(y) {
  m <- length(y) %/% 5
  z <- colMeans(matrix(y[1:(5 * m)], nrow = 5))
  candidates <- 0:(m - 5)
  error <- sapply(candidates, function(d) {
    rest <- z[(d + 1):m]
    sum((rest - mean(rest))^2) / (m - d)^2
  })
  5 * candidates[which.min(error)]
}
startup <- function(n, scale) weyl(n) + 5 * exp(-(seq_len(n) - 1) / scale)
for (n in c(60, 203, 1000)) for (scale in c(2, 20, 150))
  say(sprintf("mser-%d-%g", n, scale), "index", mser5(startup(n, scale)))

# --- Welch's interval between the batches before and after a cut (t.test)
batches <- function(y) colMeans(matrix(y[1:(5 * (length(y) %/% 5))], nrow = 5))
sequence <- startup(203, 20)
test <- t.test(batches(sequence[1:100]), batches(sequence[101:203]))
level <- mean(batches(sequence[101:203]))
say("shift", "value", (test$estimate[1] - test$estimate[2]) / level)
say("shift", "low", test$conf.int[1] / level)
say("shift", "high", test$conf.int[2] / level)

# --- Theil-Sen slope with Sen's interval (Hollander & Wolfe 1999, section 9.3), no ties
x <- seq_len(40)
y <- 10 + 0.05 * x + weyl(40)
pairs <- combn(40, 2)
slopes <- sort((y[pairs[2, ]] - y[pairs[1, ]]) / (x[pairs[2, ]] - x[pairs[1, ]]))
k <- qnorm(0.975) * sqrt(40 * 39 * (2 * 40 + 5) / 18)
low <- round((length(slopes) - k) / 2)
high <- round((length(slopes) + k) / 2) + 1
unit <- (max(x) - min(x)) / median(y)
say("drift", "value", median(slopes) * unit)
say("drift", "low", slopes[low] * unit)
say("drift", "high", slopes[high] * unit)

# --- effective sample size: Geyer's initial monotone sequence over acf()
ess <- function(y) {
  n <- length(y)
  rho <- acf(y, lag.max = n - 1, plot = FALSE)$acf[, 1, 1]
  pairs <- colSums(matrix(rho[1:(2 * (n %/% 2))], nrow = 2))
  stop_at <- which(pairs <= 0)
  if (length(stop_at)) pairs <- pairs[seq_len(stop_at[1] - 1)]
  n / max(2 * sum(cummin(pairs)) - 1, 1)
}
for (phi in c(0.5, 0.9)) {
  y <- as.numeric(stats::filter(qnorm(weyl(500)), phi, method = "recursive"))
  wave <- y + 2 * sin(seq_len(500) / 7)
  say(sprintf("ess-%g", phi), "value", ess(y))
  say(sprintf("ess-wave-%g", phi), "value", ess(wave))
}

# --- two one-sided tests, p values and other confidences of a ratio (t.test)
log_ratio <- log(numerator) - log(denominator)
for (n in c(2, 3, 6)) {
  x <- log_ratio[1:n]
  above <- t.test(x, mu = log(3.8), alternative = "greater")$p.value
  below <- t.test(x, mu = log(4.4), alternative = "less")$p.value
  say(sprintf("tost-%d", n), "p", max(above, below))
  say(sprintf("p-%d", n), "p", t.test(x, mu = log(3.9))$p.value)
  for (level in c(0.5, 0.9875)) {
    wider <- exp(t.test(x, conf.level = level)$conf.int)
    say(sprintf("rewiden-%d-%g", n, level), "low", wider[1])
    say(sprintf("rewiden-%d-%g", n, level), "high", wider[2])
  }
}

# --- Holm's procedure, a test that could not be made among them (p.adjust)
families <- list(
  c(0.01, 0.04, 0.03, 0.005), c(0.2, 0.2, 0.001, NA, 0.013), c(0.9, 0.5, 0.6), 0.04,
  c(0.024, 0.025, 0.026, 0.025))
for (i in seq_along(families)) {
  adjusted <- p.adjust(families[[i]], "holm")
  for (j in which(!is.na(adjusted))) say(sprintf("holm-%d", i), j, adjusted[j])
}

# --- BCa interval of a mean of logs (boot.ci; two programs draw other resamples)
suppressMessages(library(boot))
set.seed(1)
skewed <- 0.1 * exp(qnorm(weyl(14)))
resampled <- boot(skewed, function(x, i) mean(x[i]), R = 99999)
bca <- boot.ci(resampled, type = "bca", L = skewed - mean(skewed))$bca
say("bca", "low", exp(bca[4]))
say("bca", "high", exp(bca[5]))

# --- distribution of the k-th smallest of n values drawn with replacement (pbinom)
for (k in c(2, 5, 9)) for (j in 1:9)
  say(sprintf("drawn-9-%d", k), j, pbinom(k - 1, 9, j / 9, lower.tail = FALSE))

# --- Universal Scalability Law on the log scale (nls)
scale_law <- function(n, x) {
  cost <- coef(lm(I(n / x) ~ I(n - 1) + I(n * (n - 1)), weights = (x / n)^2))
  start <- list(rate = 1 / cost[[1]], sigma = cost[[2]] / cost[[1]], kappa = cost[[3]] / cost[[1]])
  coef(nls(log(x) ~ log(rate) + log(n) - log(1 + sigma * (n - 1) + kappa * n * (n - 1)),
           start = start, control = nls.control(tol = 1e-7, minFactor = 1e-9, nDcentral = TRUE)))
}
users <- c(1, 2, 4, 8, 16, 32, 50)
rates <- c(100, 95, 108)
laws <- sapply(1:3, function(b) {
  x <- rates[b] * users / (1 + 0.05 * (users - 1) + 0.002 * users * (users - 1))
  scale_law(users, x * exp(0.1 * (weyl(7 * b)[(7 * b - 6):(7 * b)] - 0.5)))
})
for (name in rownames(laws)) for (b in 1:3) say(sprintf("usl-%d", b), name, laws[name, b])
for (name in c("sigma", "kappa")) {
  say("usl", paste0(name, "-low"), t.test(laws[name, ])$conf.int[1])
  say("usl", paste0(name, "-high"), t.test(laws[name, ])$conf.int[2])
}
peaks <- t.test(log(sqrt((1 - laws["sigma", ]) / laws["kappa", ])))
say("usl", "peak", exp(peaks$estimate))
say("usl", "peak-low", exp(peaks$conf.int[1]))
# The ray tracer of Gunther (2007), chapter 5: frames over processors.
tracer <- scale_law(c(1, 4, 8, 12, 16, 20, 24, 28, 32, 48, 64),
                    c(20, 78, 130, 170, 190, 200, 210, 230, 260, 280, 310))
for (name in names(tracer)) say("usl-tracer", name, tracer[[name]])

# --- crossings (approx), and the interval by inversion (uniroot on t.test)
curves <- sapply(1:6, function(b)
  0.5 * log(users) - 0.8 + 0.4 * (weyl(7 * b)[(7 * b - 6):(7 * b)] - 0.5))
last_passing <- function(y) {
  i <- max(which(y < 0))
  if (i == length(y)) Inf else exp(approx(y[i:(i + 1)], log(users)[i:(i + 1)], xout = 0)$y)
}
for (b in 1:6) say("crossing", b, last_passing(curves[, b]))
crossings <- t.test(log(apply(curves, 2, last_passing)))
say("crossing-t", "value", exp(crossings$estimate))
say("crossing-t", "low", exp(crossings$conf.int[1]))
say("crossing-t", "high", exp(crossings$conf.int[2]))
end <- function(curves, which, range) exp(uniroot(function(x) {
  t.test(apply(curves, 2, function(y) approx(log(users), y, xout = x)$y))$conf.int[which]
}, log(range), tol = 1e-12)$root)
say("inverted", "low", end(curves, 2, c(1, 50)))
say("inverted", "high", end(curves, 1, c(1, 50)))
say("inverted", "value", last_passing(rowMeans(curves)))
# Near the lowest load: the interval has no lower end, and some blocks do not cross.
edge <- curves + 0.75
say("inverted-edge", "at-lowest", t.test(edge[1, ])$conf.int[2])
say("inverted-edge", "high", end(edge, 1, c(1, 50)))

# --- variance components: mean squares (aov), and REML where blocks are of equal size (nlme)
sizes <- c(4, 7, 5, 6)
group <- factor(rep(1:4, sizes))
y <- qnorm(weyl(22)) + c(0, 1.5, -1, 2.5)[group]
squares <- summary(aov(y ~ group))[[1]][["Mean Sq"]]
say("components", "within", squares[2])
say("components", "between", (squares[1] - squares[2]) / ((22 - sum(sizes^2) / 22) / 3))
suppressMessages(library(nlme))
group <- factor(rep(1:4, each = 6))
y <- qnorm(weyl(24)) + c(0, 1.5, -1, 2.5)[group]
parts <- as.numeric(VarCorr(lme(y ~ 1, random = ~ 1 | group))[, "Variance"])
say("components-reml", "between", parts[1])
say("components-reml", "within", parts[2])

# --- blocks for a wanted width (qt), and the upper limit of a pilot's spread (qchisq)
for (sd in c(0.01, 0.05, 0.2)) for (width in c(0.02, 0.1)) {
  blocks <- 2:2000
  enough <- qt(0.975, blocks - 1) * sd / sqrt(blocks) <= log(1 + width)
  say(sprintf("blocks-%g-%g", sd, width), "blocks", min(blocks[enough]))
}
pilot <- log(c(1, 1.05, 0.97, 1.1))
say("pilot", "upper", sd(pilot) * sqrt(3 / qchisq(0.2, 3)))

# --- share that met an objective (binom.test; qbeta with an effective sample size), plain mean
for (good in c(0, 90, 100)) {
  share <- binom.test(good, 100)$conf.int
  say(sprintf("goodput-%d", good), "low", 10 * share[1])
  say(sprintf("goodput-%d", good), "high", 10 * share[2])
}
say("goodput-neff", "low", 10 * qbeta(0.025, 0.9 * 40.5, 0.1 * 40.5 + 1))
say("goodput-neff", "high", 10 * qbeta(0.975, 0.9 * 40.5 + 1, 0.1 * 40.5))
plain <- t.test(c(3.2, 0, 4.1, 3.9))
say("mean", "value", plain$estimate)
say("mean", "high", plain$conf.int[2])

# --- change over the blocks (lm, confint)
for (n in c(3, 6)) {
  order <- seq_len(n)
  slope <- lm(log(numerator[1:n]) ~ order)
  say(sprintf("trend-%d", n), "value", expm1((n - 1) * coef(slope)[2]))
  say(sprintf("trend-%d", n), "low", expm1((n - 1) * confint(slope)[2, 1]))
  say(sprintf("trend-%d", n), "high", expm1((n - 1) * confint(slope)[2, 2]))
}
