#!/usr/bin/env bash
# English of docs and names, checked as far as a script can: a doc block says more than three words, no sentence of a doc
# begins with a question word, a response text of the API names its subject, a test name and a commit subject are short.
set -euo pipefail
cd "$(dirname "$0")/.."

# Test names over 60 characters. The number only shrinks.
long_test_names=0
# Last commit whose subject is not checked.
since=0ede710

git ls-files -co --exclude-standard '*.rs' | perl -e '
  use strict; use warnings;
  my ($allowed, $since) = @ARGV;
  my ($failed, @long);
  sub complain { print STDERR "english: @_\n"; $failed = 1 }
  my $question = qr/(?:What|How|Whether|Where|When|Why|Who|Whom|Whose)\b/;
  while (my $file = <STDIN>) {
    chomp $file;
    next unless -f $file;
    open(my $in, "<", $file) or die "$file: $!";
    my @lines = (<$in>, "");
    my $source = $file =~ m{/src/} && $file !~ m{/tests?/|/tests?(?:_\w+)?\.rs$|_tests?\.rs$};
    my ($tested, $fenced, @doc) = (0, 0);
    for my $number (1 .. @lines) {
      my $line = $lines[$number - 1];
      $tested = 1 if $line =~ /^\s*#\[(?:\w+::)*test\b/;
      if ($line =~ /^\s*(?:pub )?(?:async )?fn (\w+)/) {
        push @long, "$file:$number: $1" if $tested && length $1 > 60;
        $tested = 0;
      }
      # A test module at the end of a file has no docs to check.
      $source = 0 if $line =~ /^#\[cfg\(test\)\]/ && $lines[$number] =~ /^mod \w+ \{/;
      if ($source && $line =~ m{^\s*//[/!] ?(.*)}) {
        my $text = $1;
        $fenced = !$fenced if $text =~ /^\s*```/;
        push @doc, $text unless $fenced || $text =~ /^\s*(?:```|\|)/;
        next;
      }
      if (@doc) {
        my $text = join "\n", @doc;
        complain("$file:", $number - 1, ": a doc of three words or fewer: $text") if (() = $text =~ /\S+/g) <= 3;
        complain("$file:", $number - 1, ": a sentence begins with a question word: ", substr($text, $-[0], 40))
          if $text =~ /(?:^|\n\n|\n\s*\* |[.!?]\s+)$question/;
      }
      ($fenced, @doc) = (0);
      complain("$file:$number: a response text without a subject: $1") if $source && $line =~ /description\s*=\s*"((?:It|They) (?:is|are|was|were)\b[^"]*)"/;
    }
  }
  complain(scalar(@long), "test names over 60 characters, $allowed allowed:\n  ", join("\n  ", @long)) if @long > $allowed;
  complain("only ", scalar(@long), " test names over 60 characters: lower long_test_names") if @long < $allowed;
  # A shallow clone does not have the first commit, and nothing to check either.
  for (split /\n/, `git log --no-merges --format="%h %s" $since.. 2>/dev/null`) {
    my ($commit, $subject) = split / /, $_, 2;
    complain("commit $commit: a subject over 72 characters: $subject") if length $subject > 72;
  }
  print "english: clean\n" unless $failed;
  exit($failed ? 1 : 0);
' "$long_test_names" "$since"
