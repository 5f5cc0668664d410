terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # Validated with the provider itself at 5.100 and against the schema of 6.25.
      version = ">= 5.100, < 7.0"
    }
  }
}
