terraform {
  # 1.9 brought validations that look at other variables, 1.11 what the tests need.
  required_version = ">= 1.11.0, < 2.0.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
